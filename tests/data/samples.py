"""Small records in the shape of each public data set, written by us."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

_ASK = "\nGenerate an API request in the format of [ApiName(key1='value1')].\nAPI-Request: ...\n\nAPI descriptions:\n"
_LAMP = {
    "name": "set_lamp",
    "description": "Set a lamp.",
    "parameters": {
        "type": "object",
        "properties": {"level": {"type": "integer", "description": "From 0 to 9."}},
        "required": ["level"],
    },
}
_FINISH = {
    "name": "finish",
    "description": "Finish the task.",
    "parameters": {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]},
}


def api_call(n: int, **more: Any) -> dict[str, Any]:
    """One API-Bank record that asks for a call."""
    call = f"API-Request: [SetLamp(level='{n}')]"
    return {
        "instruction": _ASK + '{"name": "SetLamp", "input_parameters": {"level": {"type": "str"}}}',
        "input": f"User: Dim the lamp to {n}.\nGenerate API Request: ",
        "output": call,
        **more,
    }


def api_answer(n: int, **more: Any) -> dict[str, Any]:
    """One API-Bank record that asks for words."""
    record = api_call(n, **more)
    return {**record, "output": f"AI: The lamp stands at {n}.\n"}


def step(action: str, arguments: Any, observation: Any, thought: str = " I set it.") -> list[Any]:
    """One step of a ToolAlpaca dialogue."""
    return [[action, arguments, f"{thought}\nAction: {action}\nAction Input: {arguments}"], observation]


def lamp_api(**more: Any) -> dict[str, Any]:
    """One API of ToolAlpaca with two functions."""
    return {
        "Name": "Lamps",
        "Description": "Lamps of a house",
        "Function_Description": {
            "setLamp": "Set a lamp."
            '\nParameters: {"level": "Required. integer. From 0 to 9.", "room": "string. {Any}."}'
            "\nOutput: Done.\n - Format: application/json",
            "listLamps": "List all lamps.\nParameters: {}\nOutput: The lamps.",
            "components": "\nLamp: Object{room, level}",
        },
        "Function_Projection": {"setLamp": ["/lamp", "post"], "listLamps": ["/lamps", "get"]},
        **more,
    }


def dialogue(*steps: Any, **more: Any) -> dict[str, Any]:
    """One training dialogue of ToolAlpaca."""
    return {
        "input": "Dim the lamp.\nHint: 3 is low",
        "output": "The lamp is dim.",
        "Final Thought": "It is dim now.",
        "intermediate_steps": list(steps),
        **more,
    }


def trajectory(*turns: tuple[str, str], tools: Any = None) -> dict[str, Any]:
    """One trajectory of TL-Training."""
    declared = json.dumps([{"type": "function", "function": _LAMP}] if tools is None else tools)
    messages = [{"role": role, "content": text} for role, text in (("system", declared), *turns)]
    return {"id": "Dim the lamp.", "conversations": messages}


def react(*alternatives: str, **more: Any) -> dict[str, Any]:
    """One record of RoTBench (with alternatives) or ToolEyes (without)."""
    prompt = (
        "You use tools.\nDesired format:\nThought: <...>\n\nYou have access of the following tools:\n"
        f"{json.dumps([_LAMP, _FINISH])}\n\nLet's Begin!"
    )
    turns: list[dict[str, Any]] = [{"from": "system", "value": prompt}, {"from": "user", "value": "Dim it.\nBegin!\n"}]
    if alternatives:
        turns.append({"from": "assistant", "value": list(alternatives)})
    return {"id": "Turn 1: Dim it.", "conversations": turns, "scenario": "TG", **more}


def bfcl(n: int = 0, **more: Any) -> dict[str, Any]:
    """One record of BFCL."""
    function = {**_LAMP, "parameters": {**_LAMP["parameters"], "type": "dict"}}  # type: ignore[dict-item]
    return {
        "id": f"simple_{n}",
        "question": [[{"role": "user", "content": "Dim the lamp."}]],
        "function": [function],
        **more,
    }


def xlam(query: str = "Dim the lamp.", *calls: Any, **more: Any) -> dict[str, Any]:
    """One record of xLAM-60k."""
    tool = {
        "name": "set_lamp",
        "description": "Set a lamp.",
        "parameters": {
            "level": {"description": "From 0 to 9.", "type": "int"},
            "rooms": {"description": "Where.", "type": "List[str], optional"},
            "unit": {"description": "Its unit.", "type": "str", "default": "lux"},
        },
    }
    answers = list(calls) or [{"name": "set_lamp", "arguments": {"level": 3, "rooms": ["hall"]}}]
    return {"id": 7, "query": query, "answers": json.dumps(answers), "tools": json.dumps([tool]), **more}


_ACE_TOOLS = [
    {
        "name": "Set Lamp",
        "description": "Set a lamp.",
        "parameters": {
            "type": "dict",
            "properties": {"level": {"type": "int", "description": "From 0 to 9."}, "on": {"type": "boolean"}},
            "required": ["level"],
        },
        "required": None,
    },
    {
        "name": "home/lamps.List All",
        "description": "List all lamps.",
        "parameters": {"type": "dict", "properties": {}, "required": []},
        "required": None,
    },
]


def toolace(*turns: tuple[str, str], tools: Any = None, **more: Any) -> dict[str, Any]:
    """One record of ToolACE."""
    listed = json.dumps(_ACE_TOOLS if tools is None else tools)
    system = (
        "You compose calls of functions. Point it out if none of them helps.\nToday is Monday.\n"
        f"Here is a list of functions in JSON format that you can invoke:\n{listed}. \n"
        "Should you decide to return the function call(s). \n"
        "Put it in the format of [func1(params_name=params_value, params_name2=params_value2...), func2(params)]\n\n"
        "NO other text MUST be included. \n"
    )
    return {"system": system, "conversations": [{"from": role, "value": text} for role, text in turns], **more}


_HERMES_SYSTEM = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags. "
    "Never guess values.\n<tools>\n{tools}\n</tools>\nFor each function call return a json object within "
    "<tool_call> </tool_call> tags with the following schema:\n<tool_call>\n"
    "{{'arguments': <args-dict>, 'name': <function-name>}}\n</tool_call>\n"
)


def hermes(*turns: tuple[str, str], tools: str | None = None, **more: Any) -> dict[str, Any]:
    """One record of Hermes function calling; `tools` as its text has them, Python's literals by default."""
    listed = repr([{"type": "function", "function": _LAMP}]) if tools is None else tools
    messages = [("system", _HERMES_SYSTEM.format(tools=listed)), *turns]
    conversations = [{"from": role, "value": text} for role, text in messages]
    return {
        "id": "a-1",
        "conversations": conversations,
        "category": "Home",
        "subcategory": "Lamps",
        "task": "x",
        **more,
    }


def json_mode(schema: str = "{'type': 'object'}") -> dict[str, Any]:
    """One record of Hermes' json-mode files."""
    turns = (
        ("system", f"You answer in JSON. Here's the schema:\n<schema>\n{schema}\n</schema>\n"),
        ("human", "Describe the lamp."),
        ("gpt", '{"level": 3}'),
    )
    messages = [{"from": role, "value": text} for role, text in turns]
    return {
        "id": "j-1",
        "conversations": messages,
        "category": "Home",
        "subcategory": "Json",
        "task": "y",
        "schema": "",
    }


def apigen_mt(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    """One record of APIGen-MT-5k."""
    messages = [{"from": role, "value": text} for role, text in turns]
    return {"conversations": messages, "tools": json.dumps([_LAMP, _FINISH]), "system": "# Policy\nBe kind.", **more}


def chatml(*turns: tuple[str, str], reply: str, **more: Any) -> dict[str, Any]:
    """One record of ETAPP's training data: ChatML up to a reply, and the reply."""
    text = "".join(f"<|im_start|>{role}\n{words}<|im_end|>\n" for role, words in turns)
    return {"input": f"{text}<|im_start|>assistant\n", "output": reply, **more}


ETAPP_SYSTEM = f"You help one user.\n<tools>\n{json.dumps({'type': 'function', 'function': _LAMP})}\n</tools>"
ETAPP_TURNS = (
    ("system", ETAPP_SYSTEM),
    ("user", "Dim the lamp."),
    ("assistant", 'I dim it.\n<tool_call>\n{"name": "set_lamp", "arguments": {"level": 3}}\n</tool_call>'),
    ("user", "<tool_response>\n{}\n</tool_response>"),
)

SAMPLES: dict[str, list[dict[str, Any]]] = {
    "api_bank": [api_call(1), api_call(2), api_answer(1)],
    "toolalpaca": [lamp_api(Instances=[dialogue(step("setLamp", '{"level": 3}', "Status Code: 200. Response: {}"))])],
    "tl_training": [
        trajectory(
            ("user", "Dim the lamp."),
            ("assistant", 'set_lamp\n{"level": 30}'),
            ("function", '{"error": "Response error."}'),
            ("assistant", 'set_lamp\n{"level": 3}'),
        )
    ],
    "rotbench": [react('Thought:\nAction: set_lamp\nAction Input: {"level": "3"}')],
    "tooleyes": [react(path="ToolEyes/Tool_Library/Lamp/Lamp")],
    "bfcl": [bfcl(ground_truth=["set_lamp(level=3)"], execution_result_type=["exact_match"])],
    "glaive": [
        {
            "system": f"SYSTEM: You have access to the following functions -\n{json.dumps(_LAMP, indent=1)}\n",
            "chat": "USER: Dim the lamp.\n\n\nASSISTANT: <functioncall> "
            '{"name": "set_lamp", "arguments": \'{"level": 3}\'} <|endoftext|>\n\n\n'
            'FUNCTION RESPONSE: {"done": true}\n\n\nASSISTANT: Done. <|endoftext|>\n\n\n',
        }
    ],
    "xlam": [xlam()],
    "toolace": [
        toolace(
            ("user", "Dim the lamp and list all."),
            ("assistant", "[Set Lamp(level=3, on=True), home/lamps.List All()]"),
            (
                "tool",
                '[{"name": "Set Lamp", "results": {"done": true}}, {"name": "home/lamps.List All", "results": []}]',
            ),
            ("assistant", "Done: there is one lamp."),
        )
    ],
    "hermes": [
        hermes(
            ("human", "Dim the lamp."),
            ("gpt", "<tool_call>\n{'arguments': {'level': 3}, 'name': 'set_lamp'}\n</tool_call>\n"),
            ("tool", '<tool_response>\n{"name": "set_lamp", "content": {"done": true}}\n</tool_response>\n'),
            ("gpt", "Done."),
        )
    ],
    "apigen_mt": [
        apigen_mt(
            ("human", "Dim the lamp."),
            ("function_call", '{"name": "set_lamp", "arguments": {"level": 30}}'),
            ("observation", "Error: from 0 to 9"),
            ("function_call", '{"name": "set_lamp", "arguments": {"level": 3}}'),
            ("observation", '{"done": true}'),
            ("gpt", "Done."),
        )
    ],
    "etapp": [chatml(*ETAPP_TURNS, reply="It is dim.<|im_end|>")],
    "alpaca": [
        {"instruction": "Say hello.", "input": "", "output": "Hello."},
        {"instruction": "Sing", "output": "La"},
    ],
    "alpaca_gpt4": [{"instruction": "Name a tree.", "input": "", "output": "Oak."}],
    "code_alpaca": [{"instruction": "Add.", "input": "a, b", "output": "def f(a, b): return a + b"}],
    "gsm8k": [{"question": "1 + 1?", "answer": "One and one.\n#### 2"}, {"question": "2 + 2?", "answer": "#### 4"}],
    "humaneval": [
        {
            "task_id": "HumanEval/0",
            "prompt": 'def one():\n    """One."""\n',
            "entry_point": "one",
            "canonical_solution": "    return 1\n",
            "test": "def check(candidate):\n    assert candidate() == 1\n",
        }
    ],
    "metamath": [
        {"query": "What is 3?", "response": "Three. The answer is: 3", "type": "x", "original_question": "3?"}
    ],
    "nq_open": [{"question": "who built it", "answer": ["Ada", "Ada B."]}],
    "triviaqa": [
        {"Question": "Where is it?", "QuestionId": "t_1", "Answer": {"Value": "Here", "Aliases": ["here"]}},
        {"Question": "Who is it?", "QuestionId": "t_2", "Answer": {"Value": "Me", "Aliases": []}},
    ],
}
FILE_NAMES = {
    "api_bank": "lv3-train.json",
    "toolalpaca": "train_data.json",
    "tl_training": "raw_data.json",
    "rotbench": "clean.json",
    "tooleyes": "scenario_data_zero_processed.json",
    "bfcl": "BFCL_v3_exec_simple.json",
    "glaive": "glaive-function-calling-v2.json",
    "xlam": "xlam_function_calling_60k.json",
    "toolace": "data.json",
    "hermes": "func-calling.json",
    "apigen_mt": "apigen-mt_5k.json",
    "etapp": "training_data_qwen_format_fc.json",
    "alpaca": "alpaca_en.json",
    "alpaca_gpt4": "alpaca_gpt4_data.json",
    "code_alpaca": "code_alpaca_20k.json",
    "gsm8k": "train.jsonl",
    "humaneval": "HumanEval.jsonl.gz",
    "metamath": "MetaMathQA-395K.json",
    "nq_open": "NQ-open.train.jsonl",
    "triviaqa": "unfiltered-web-train.json",
}


def write_sample(name: str, folder: Path, file_name: str = "") -> Path:
    """Write the sample of data set `name` as its publisher would; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file_name or FILE_NAMES[name])
    records = SAMPLES[name]
    lines = "\n".join(map(json.dumps, records)) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode(), mtime=0))
    elif path.suffix == ".jsonl" or name == "bfcl":
        path.write_text(lines, encoding="utf-8")
    else:
        whole = {"Data": records, "Version": 1} if name == "triviaqa" else records
        path.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    return path
