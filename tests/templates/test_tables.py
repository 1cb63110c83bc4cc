"""The prompts of TL-Training's appendix B (arXiv:2412.15495), Tables 6 to 13, for its own example."""

from __future__ import annotations

import json

import pytest

from llamafactory_ext.templates import TEMPLATES, Message
from llamafactory_ext.toolcalls import read_tool

QUESTION = "Can you fetch some random advice for me?"
FUNCTION = {
    "name": "random_advice",
    "description": "Returns a random advice slip as a slip object.",
    "parameters": {"type": "object", "properties": {}, "required": []},
}
OPENAI = json.dumps({"type": "function", "function": FUNCTION})
INDENTED = json.dumps({"type": "function", "function": FUNCTION}, indent=4)

TOOLLLAMA = f"""\
System: You are AutoGPT, you can use many tools(functions) to do the following task.
First I will give you the task description, and your task start.
At each step, you need to give your thought to analyze the status now and what to do next, with a function call to \
actually excute your step. Your output should follow this format:
Thought:
Action
Action Input:

After the call, you will get the call result, and you are now in a new state.
Then you will analyze your status now, then decide what to do next...
After many (Thought-call) pairs, you finally perform the task, then you can give your finial answer.
Remember:\N{SPACE}
1.the state change is irreversible, you can't go back to one of the former state, if you want to restart the task, \
say "I give up and restart".
2.All the thought is short, at most in 5 sentence.
3.You can do more then one trys, so if your plan is to continusly try some conditions, you can do one of the \
conditions per try.
Let's Begin!
Task description: You should use functions to help handle the real time user querys. Remember:
1.ALWAYS call "Finish" function at the end of the task. And the final answer should contain enough information to \
show to the user,If you can't handle the task, or you find that function calls always fail(the function is not valid \
now), use function Finish->give_up_and_restart.
2.Do not use origin tool names, use only subfunctions' names.
Specifically, you have access to the following APIs: [{OPENAI}]
User: {QUESTION}
Assistant:
"""
NEXUSRAVEN = f'''\
Function:
def random_advice():
    """
    Returns a random advice slip as a slip object.

    Args:

    Returns:
    string: The feedback from the tool.
    """

User Query: {QUESTION}<human_end>

'''
CHATGLM4 = f"""\
[gMASK]<sop><|system|>
你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，\
你的任务是针对用户的问题和要求提供适当的答复和支持。

# 可用工具

## random_advice

{json.dumps(FUNCTION)}
在调用上述函数时，请使用 Json 格式表示调用的参数。<|user|>
{QUESTION}<|assistant|>"""
QWEN2 = f"""\
<|im_start|>system
You are a helpful assistant.<|im_end|>
<|im_start|>user
Answer the following questions as best you can. You have access to the following tools:

random_advice: Call this tool to interact with the random_advice API. What is the random_advice API useful for? \
Returns a random advice slip as a slip object. Parameters: [] Format the arguments as a JSON object.

Use the following format:

Question: the input question you must answer
Thought: you should always think about what to do
Action: the action to take, should be one of [random_advice]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question

Begin!

Question: {QUESTION}<|im_end|>
<|im_start|>assistant
"""
LLAMA31 = f"""\
<s><|start_header_id|>system<|end_header_id|>

Environment: ipython
Cutting Knowledge Date: December 2023
Today Date: 26 Jul 2024

<|eot_id|><|start_header_id|>user<|end_header_id|>

Given the following functions, please respond with a JSON for a function call with its proper arguments that best \
answers the given prompt.

Respond in the format {{"name": function name, "parameters": dictionary of argument name and its value}}.Do not use \
variables.

{INDENTED}

{QUESTION}<|eot_id|><|start_header_id|>assistant<|end_header_id|>

"""
QWEN25 = f"""\
<|im_start|>system
You are Qwen, created by Alibaba Cloud. You are a helpful assistant.

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{OPENAI}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call><|im_end|>
<|im_start|>user
{QUESTION}<|im_end|>
<|im_start|>assistant
"""
TL_CODELLAMA2 = f'''\
System: Function:
def random_advice():
    """
    Returns a random advice slip as a slip object.

    Args:
    """

User: {QUESTION}
Assistant:'''

TABLES = {
    "tl_toolllama": (TOOLLLAMA, "Action: random_advice\nAction Input: {}</s>"),
    "tl_nexusraven": (NEXUSRAVEN, "Call: random_advice()<bot_end>"),
    "tl_chatglm4": (CHATGLM4, "\nrandom_advice\n{}"),
    "tl_qwen2": (QWEN2, "Action: random_advice\nAction Input: {}<|im_end|>"),
    "tl_llama31": (LLAMA31, '{"name": "random_advice", "parameters": {}}<|eot_id|>'),
    "tl_qwen25": (QWEN25, '<tool_call>\n{"name": "random_advice", "arguments": {}}\n</tool_call><|im_end|>'),
    "tl_codellama2": (TL_CODELLAMA2, " random_advice()</s>"),
}


@pytest.mark.parametrize("name", TABLES)
def test_prompt_and_call(name: str) -> None:
    prompt, call = TABLES[name]
    bos = "<s>" if "{bos}" in TEMPLATES[name].chat.start else ""
    if bos and not prompt.startswith(bos):
        prompt = bos + prompt
    messages = [
        Message("user", QUESTION),
        Message("function", json.dumps({"name": "random_advice", "arguments": {}})),
    ]
    rendered = TEMPLATES[name].render(messages, tools=[read_tool(json.loads(OPENAI), "openai")], bos="<s>", eos="</s>")
    assert rendered == [prompt, call]


def test_every_table_has_a_template() -> None:
    assert set(TABLES) == {name for name in TEMPLATES if name.startswith("tl_")}
