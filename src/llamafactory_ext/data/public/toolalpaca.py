"""ToolAlpaca (Tang et al. 2023, arXiv:2306.05301): simulated training dialogues, and instructions with gold calls.

A file is a list of APIs. In train_data.json each holds `Instances` (a dialogue: input, intermediate_steps, output); in
eval_real.json and eval_simulated.json `Instructions` and `Golden_Answers`. Each instance or instruction is one record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..dialogues import (
    GPT,
    HUMAN,
    OBSERVATION,
    call_turn,
    example,
    names_of,
    published_call,
    turn,
)
from ..family import SHAREGPT, Drop, Family, Foreign, Outcome, by_patterns, split_by_name
from ..files.reading import iter_records

_MAX_STEPS = 5  # the published selection of training dialogues
_GET_DETAILS = {
    "name": "getDetails",
    "description": "Ask the user for information that the question lacks.",
    "parameters": {
        "type": "object",
        "properties": {"Question": {"type": "string", "description": "What to ask the user."}},
        "required": ["Question"],
    },
}
_PARAMETERS = re.compile(r"\nParameters: (\{.*?\})(?=\nOutput:|\Z)", re.DOTALL)
_TYPES = ("string", "integer", "number", "boolean", "array", "object")


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Return every instance or instruction with its API: (place, {"api", "kind", "item"})."""

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else []

    for place, api in iter_records(path):
        if not isinstance(api, Mapping) or not isinstance(api.get("Name"), str):
            yield place, api
            continue
        golds = api.get("Golden_Answers")
        if isinstance(golds, list):
            kind, items = "Instructions", list(enumerate(zip_longest(listed(api.get("Instructions")), golds)))
        else:
            kind, items = "Instances", list(enumerate(listed(api.get("Instances"))))
        if not items:
            yield place, {"api": api, "kind": "", "item": None}
        for index, item in items:
            yield f"{place}, {kind} {index}", {"api": api, "kind": kind, "item": item, "index": index}


def _read(record: Any) -> Outcome:
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    if not isinstance(record.get("api"), Mapping):
        return Foreign('has no "Name" of an API')
    api, item = record["api"], record["item"]
    if record["kind"] == "":
        return Drop("its API has neither Instances nor Golden_Answers")
    functions = api.get("Function_Description")
    if not isinstance(functions, Mapping):
        return Drop("its API has no Function_Description")
    tools = _tools(functions, api.get("Function_Projection") or functions)
    if record["kind"] == "Instances":
        return _instance(item, [_GET_DETAILS, *tools])
    return _instruction(api, record["index"], item, tools)


def _instance(item: Any, tools: list[dict[str, Any]]) -> Outcome:
    """Return one training dialogue, selected as by the authors' build_dataset.py."""
    if not isinstance(item, Mapping) or not isinstance(item.get("input"), str):
        return Drop("holds no dialogue")
    steps = item.get("intermediate_steps")
    if not steps or not isinstance(steps, list):
        return Drop("no intermediate step")
    if len(steps) > _MAX_STEPS:
        return Drop(f"more than {_MAX_STEPS} steps (the authors leave these out)")
    turns = [turn(HUMAN, item["input"].rsplit("\nHint: ", 1)[0])]
    findings: list[str] = []
    try:
        used = {action for (action, _, _), _ in steps}
        if used == {"getDetails"}:
            return Drop("calls nothing but getDetails (the authors leave these out)")
        for (action, arguments, log), observation in steps:
            made, defects = published_call(str(action), arguments, names_of(tools))
            findings += defects
            thought = str(log).rsplit("\nAction:", 1)[0].strip()
            turns.append(call_turn([made], thought))
            turns.append(turn(OBSERVATION, _text(observation)))
    except (TypeError, ValueError):
        return Foreign("has an intermediate step that is not [[action, input, log], observation]")
    output = item.get("output")
    if not isinstance(output, str) or not output.strip():
        return Drop("empty output")
    return example([*turns, turn(GPT, output)], tools=tools, findings=findings)


def _instruction(api: Mapping[str, Any], index: int, item: Any, tools: list[dict[str, Any]]) -> Outcome:
    """Return one test instruction; all gold calls, which were published without results, stand in its last turn."""
    instruction, gold = item
    if not isinstance(instruction, str) or not instruction.strip():
        return Drop("empty prompt")
    if not gold:
        return Drop("no gold call")
    calls = []
    findings: list[str] = []
    try:
        for step in gold:
            made, defects = published_call(step["Action"], step["Action_Input"], names_of(tools))
            calls.append(made)
            findings += defects
    except (TypeError, KeyError):
        return Foreign("has a gold step without Action and Action_Input")
    reference = {
        "api": api["Name"],
        "index": index,
        "documentation": api.get("NLDocumentation", ""),
        "golden_answer": gold,
    }
    return example(
        [turn(HUMAN, instruction), call_turn(calls)],
        tools=tools,
        reference=reference,
        key=f"{api['Name']}:{index}",
        findings=findings,
    )


def _tools(functions: Mapping[str, Any], names: Any) -> list[dict[str, Any]]:
    """Return the functions of an API.

    The last carries the description of the API's components, as in the authors' prompt.
    """
    tools = [_tool(name, str(functions.get(name, ""))) for name in names if name != "components"]
    components = functions.get("components")
    if tools and isinstance(components, str):
        tools[-1]["description"] += components
    return tools


def _tool(name: str, text: str) -> dict[str, Any]:
    r"""Return a declaration out of "what it does\nParameters: {...}\nOutput: ..."."""
    match = _PARAMETERS.search(text)
    described: Any = None
    if match is not None:
        try:
            described = json.loads(match[1])
        except (ValueError, RecursionError):
            described = None
    if match is None or not isinstance(described, Mapping):
        return {
            "name": name,
            "description": text,
            "parameters": {"type": "object", "properties": {}, "required": []},
        }
    properties, required = {}, []
    for parameter, said in described.items():
        needed, rest = re.fullmatch(r"(Required\. )?(.*)", str(said), re.DOTALL).groups()  # type: ignore[union-attr]
        kind = next((kind for kind in _TYPES if rest.lower().startswith(kind)), "string")
        properties[parameter] = {"type": kind, "description": str(said)}
        if needed:
            required.append(parameter)
    return {
        "name": name,
        "description": text.replace(match[0], ""),
        "parameters": {"type": "object", "properties": properties, "required": required},
    }


def _text(observation: Any) -> str:
    return observation if isinstance(observation, str) else json.dumps(observation, ensure_ascii=False)


FAMILY = Family(
    name="toolalpaca",
    about="ToolAlpaca: train_data.json; eval_real.json and eval_simulated.json for --split test",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(train=("train_data.json",), test=("eval_real.json", "eval_simulated.json")),
    split_of=split_by_name,
    read=_read,
    records=_records,
)


def read_question(record: Mapping[str, Any]) -> Outcome:
    """Return what a model is asked by an item of the scorer, whose record has its API beside it."""
    pair = (record["instruction"], record["golden_answer"])
    return _read({"api": record["api"], "kind": "Instructions", "index": record["index"], "item": pair})
