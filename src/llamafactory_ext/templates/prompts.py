"""The words in which each data set or model family presents tools, as published.

API-Bank and ToolAlpaca name the speakers of a dialogue inside the prompt; in a chat format the turns say who speaks,
so those lines are left out ("we modify the dialogue template", arXiv:2409.13202, appendix A.3). The others stand
as in TL-Training, arXiv:2412.15495, Tables 6 to 13, or in the chat template of the model's card, from which the paper
took them.
"""

API_BANK = (
    "Generate an API request in the format of [ApiName(key1='value1', key2='value2', ...)] based on the previous "
    "dialogue context.\n"
    "Expected output:\n"
    "API-Request: [ApiName(key1='value1', key2='value2', ...)]\n"
    "\n"
    "API descriptions:\n"
)

TOOLALPACA_HEAD = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions with the help of some tools.\n"
    "You have access to the following tools:"
)

TOOLALPACA_FORMAT = (
    "The chat follows this format:\n"
    "Thought: the assistant's inner thought about what to do next\n"
    "Action: the action to take, must be one of [{names}].\n"
    "Action Input: the input for the action, in JSON format.\n"
    "Observation: the result of the action\n"
    "... (this Thought/Action/Action Input/Observation can repeat N times)\n"
    "Thought: summarize the information gathered\n"
    "Response: the final response to the user"
)

# The spelling is ToolBench's own, and part of what the model was trained on.
TOOLLLAMA = (
    "You are AutoGPT, you can use many tools(functions) to do the following task.\n"
    "First I will give you the task description, and your task start.\n"
    "At each step, you need to give your thought to analyze the status now and what to do next, with a function call "
    "to actually excute your step. Your output should follow this format:\n"
    "Thought:\n"
    "Action\n"
    "Action Input:\n"
    "\n"
    "After the call, you will get the call result, and you are now in a new state.\n"
    "Then you will analyze your status now, then decide what to do next...\n"
    "After many (Thought-call) pairs, you finally perform the task, then you can give your finial answer.\n"
    "Remember: \n"
    "1.the state change is irreversible, you can't go back to one of the former state, if you want to restart the "
    'task, say "I give up and restart".\n'
    "2.All the thought is short, at most in 5 sentence.\n"
    "3.You can do more then one trys, so if your plan is to continusly try some conditions, you can do one of the "
    "conditions per try.\n"
    "Let's Begin!\n"
    "Task description: You should use functions to help handle the real time user querys. Remember:\n"
    '1.ALWAYS call "Finish" function at the end of the task. And the final answer should contain enough information '
    "to show to the user,If you can't handle the task, or you find that function calls always fail(the function is "
    "not valid now), use function Finish->give_up_and_restart.\n"
    "2.Do not use origin tool names, use only subfunctions' names.\n"
    "Specifically, you have access to the following APIs: "
)

CHATGLM4_SYSTEM = (
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。"
)
CHATGLM4_HEAD = "# 可用工具"
CHATGLM4_TOOL = "\n\n## {name}\n\n{tool}\n在调用上述函数时，请使用 Json 格式表示调用的参数。"

QWEN2_TOOL = (
    "{name}: Call this tool to interact with the {name} API. What is the {name} API useful for? {description} "
    "Parameters: {parameters} Format the arguments as a JSON object."
)
QWEN2_HEAD = "Answer the following questions as best you can. You have access to the following tools:\n\n"
QWEN2_FORMAT = (
    "\n\n"
    "Use the following format:\n"
    "\n"
    "Question: the input question you must answer\n"
    "Thought: you should always think about what to do\n"
    "Action: the action to take, should be one of [{names}]\n"
    "Action Input: the input to the action\n"
    "Observation: the result of the action\n"
    "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
    "Thought: I now know the final answer\n"
    "Final Answer: the final answer to the original input question\n"
    "\n"
    "Begin!\n"
    "\n"
    "Question: "
)

LLAMA31 = (
    "Given the following functions, please respond with a JSON for a function call with its proper arguments that "
    "best answers the given prompt.\n"
    "\n"
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
    "Do not use variables.\n"
    "\n"
)

QWEN25_HEAD = (
    "# Tools\n"
    "\n"
    "You may call one or more functions to assist with the user query.\n"
    "\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n"
    "<tools>"
)
QWEN25_FORMAT = (
    "\n</tools>\n"
    "\n"
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML "
    "tags:\n"
    "<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call>"
)
