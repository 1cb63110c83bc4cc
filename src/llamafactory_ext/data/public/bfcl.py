"""BFCL v3 (Berkeley function-calling leaderboard): executable files, and AST files with their possible answers.

Files are JSONL named BFCL_v3_<category>.json. Executable records hold `ground_truth`, python calls as text; the gold
of the others lies in possible_answer/ under the same file name, line by line: name -> parameter -> allowed values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError

from ..dialogues import ANSWERING, GPT, HUMAN, NOT_DECLARED, call, call_turn, example, names_of, turn
from ..family import SHAREGPT, Chosen, Drop, Family, Foreign, Outcome, always
from ..files.reading import iter_records

_PREFIX = "BFCL_v3_"
_PAPER = "exec_"  # TL-Training (arXiv:2412.15495, footnote 5) evaluates on the executable split
_ROLES = {"user": HUMAN, "assistant": GPT}
NOT_LITERAL = "an argument of a published call is an expression, not a value; it is kept as text"


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Records, joined with their possible answers where there is such a file."""
    answers = path.parent / "possible_answer" / path.name
    if not answers.is_file():
        yield from iter_records(path)
        return
    for one, other in zip_longest(iter_records(path), iter_records(answers)):
        if one is None or other is None or not _same_id(one[1], other[1]):
            place = (one or other)[0]
            raise DataError(
                f"{path} and {answers} do not belong together: at {place} their ids differ; get both of one version."
            )
        place, record = one
        yield place, {**record, "possible_answer": other[1]["ground_truth"]}


def _same_id(record: Any, answer: Any) -> bool:
    return (
        isinstance(record, Mapping)
        and isinstance(answer, Mapping)
        and "ground_truth" in answer
        and record.get("id") == answer.get("id") is not None
    )


def _read(record: Any) -> Outcome:
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    question, functions = record.get("question"), record.get("function")
    if not isinstance(question, list) or not question or not isinstance(question[0], list):
        return Foreign('has no "question" of turns of messages')
    if len(question) > 1 or not isinstance(functions, list):
        return Drop("has several user turns: there is no single gold call")
    try:
        calls, findings = _gold(record)
        messages = [(message["role"], message["content"]) for message in question[0]]
        names = names_of(functions)
    except (TypeError, KeyError, ValueError, SyntaxError, AttributeError):
        return Foreign('has a "question" or a gold answer that is not in the published form')
    if not calls:
        return Drop("no gold call (a relevance test)")
    findings += [NOT_DECLARED] if any(made["name"] not in names for made in calls) else []
    system = "\n".join(text for role, text in messages if role == "system")
    turns = [turn(_ROLES.get(role, role), text) for role, text in messages if role != "system"]
    reference = {key: value for key, value in record.items() if key not in ("question", "function")}
    return example(
        [*_merged(turns), call_turn(calls)],
        tools=functions,
        system=system,
        reference=reference,
        key=str(record.get("id", "")),
        findings=findings,
    )


def _merged(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """Messages of the same side in a row as one turn: upstream wants user and assistant in alternation."""
    merged: list[dict[str, str]] = []
    for message in turns:
        if merged and (merged[-1]["from"] in ANSWERING) == (message["from"] in ANSWERING):
            merged[-1] = turn(message["from"], f"{merged[-1]['value']}\n{message['value']}")
        else:
            merged.append(message)
    return merged


def _gold(record: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    if "possible_answer" in record:
        calls = [
            call(name, {key: _first(allowed) for key, allowed in arguments.items() if allowed and allowed[0] != ""})
            for choice in record["possible_answer"]
            for name, arguments in choice.items()
        ]
        return calls, []
    findings: list[str] = []
    return [_python_call(text, findings) for text in record.get("ground_truth") or ()], findings


def _first(allowed: Any) -> Any:
    """The first of the allowed values; inside objects each member lists its own."""
    value = allowed[0] if isinstance(allowed, list) else allowed
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _first(inner)
            for key, inner in value.items()
            if not (isinstance(inner, list) and inner and inner[0] == "")
        }
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _python_call(text: str, findings: list[str]) -> dict[str, Any]:
    tree = ast.parse(text.strip(), mode="eval").body
    if not isinstance(tree, ast.Call) or tree.args:
        raise ValueError
    arguments = {}
    for keyword in tree.keywords:
        if keyword.arg is None:
            raise ValueError
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            arguments[keyword.arg] = ast.get_source_segment(text.strip(), keyword.value)
            findings.append(NOT_LITERAL)
    return call(ast.unparse(tree.func), arguments)


def _choose(folder: Path, split: str) -> Chosen:
    """The executable files; the others are named one by one."""
    if split != "test":
        return Chosen(())
    found = sorted(path for path in folder.glob(f"{_PREFIX}*.json") if path.is_file())
    files = tuple(path for path in found if path.name.startswith(_PREFIX + _PAPER))
    return Chosen(
        files, tuple((path, "not of the executable split: name the file") for path in found if path not in files)
    )


FAMILY = Family(
    name="bfcl",
    about="BFCL v3: the BFCL_v3_exec_*.json of a folder, or any BFCL_v3_*.json with its possible_answer/; a test set",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=_choose,
    split_of=always("test"),
    read=_read,
    records=_records,
)
