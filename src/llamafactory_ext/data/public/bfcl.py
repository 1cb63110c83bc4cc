"""BFCL (Berkeley function-calling leaderboard), v3 and v4: executable files, and AST files with possible answers.

Files are JSONL named BFCL_v3_<category>.json or BFCL_v4_<category>.json. Executable records hold `ground_truth`,
python calls as text; the gold of the others lies in possible_answer/ under the same file name: name -> parameter ->
allowed values. Files of several turns, of Java and of JavaScript are refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError

from ..dialogues import ANSWERING, GPT, HUMAN, NOT_DECLARED, call, call_turn, example, names_of, turn
from ..family import SHAREGPT, Chosen, Drop, Family, Foreign, Outcome, always
from ..files.reading import iter_records
from .bfcl_files import (
    CHECKED,
    EXECUTABLE,
    answers_path,
    bound,
    category_of,
    paired_answers,
    parameter_names,
    refusal,
    version_of,
)

_ROLES = {"user": HUMAN, "assistant": GPT}
NOT_LITERAL = "an argument of a published call is an expression, not a value; it is kept as text"


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield records, joined with their answers where there is such a file."""
    reason = refusal(path) if version_of(path) else None
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    answers_file = answers_path(path)
    placed = list(iter_records(path))
    if answers_file is None or any(_has_gold(record) for _, record in placed):
        yield from placed
        return
    answers = [answer for _, answer in iter_records(answers_file)]
    if all(map(_has_id, (record for _, record in placed))) and all(_has_id(one) and _has_gold(one) for one in answers):
        found = paired_answers([record for _, record in placed], answers)
    else:
        found = [None] * len(placed)
    if None in found or len(answers) != len(placed):
        lacking = found.index(None) if None in found else len(placed) - 1
        raise DataError(
            f"{path} and {answers_file} do not belong together: at {placed[lacking][0]} their ids differ; get both of "
            "one version."
        )
    key = "ground_truth" if category_of(path) in EXECUTABLE else "possible_answer"
    for (place, record), answer in zip(placed, found, strict=True):
        yield place, {**record, key: answer}


def _has_gold(record: Any) -> bool:
    return isinstance(record, Mapping) and isinstance(record.get("ground_truth"), list)


def _has_id(record: Any) -> bool:
    return isinstance(record, Mapping) and isinstance(record.get("id"), str)


def _read(record: Any) -> Outcome:
    return _outcome(record, is_asked=False)


def read_question(record: Any) -> Outcome:
    """Return what a model is asked, with an empty reply: also of records that want no call."""
    return _outcome(record, is_asked=True)


def _outcome(record: Any, is_asked: bool) -> Outcome:
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    question, functions = record.get("question"), record.get("function")
    if not isinstance(question, list) or not question or not isinstance(question[0], list):
        return Foreign('has no "question" of turns of messages')
    if len(question) > 1 or not isinstance(functions, list):
        return Drop("has several user turns: there is no single gold call")
    try:
        calls, findings = ([], []) if is_asked else _gold(record)
        messages = [(message["role"], message["content"]) for message in question[0]]
        names = names_of(functions)
    except (TypeError, KeyError, ValueError, SyntaxError, AttributeError):
        return Foreign('has a "question" or a gold answer that is not in the published form')
    if not calls and not is_asked:
        return Drop("no gold call (a relevance test)")
    findings += [NOT_DECLARED] if any(made["name"] not in names for made in calls) else []
    system = "\n".join(text for role, text in messages if role == "system")
    reply = turn(GPT, "") if is_asked else call_turn(calls)
    turns = [turn(_ROLES.get(role, role), text) for role, text in messages if role != "system"]
    reference = {key: value for key, value in record.items() if key not in ("question", "function")}
    return example(
        [*_merged(turns), reply],
        tools=functions,
        system=system,
        reference=reference,
        key=str(record.get("id", "")),
        findings=findings,
    )


def _merged(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return messages of the same side in a row as one turn: upstream wants user and assistant in alternation."""
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
    golds = record.get("ground_truth") or ()
    return [_python_call(text, record["function"], findings) for text in golds], findings


def _first(allowed: Any) -> Any:
    """Return the first of the allowed values; inside objects each member lists its own."""
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


def _python_call(text: str, functions: Any, findings: list[str]) -> dict[str, Any]:
    """Return a gold call; arguments by position get the names of the declared parameters in their order."""
    tree = ast.parse(text.strip(), mode="eval").body
    if not isinstance(tree, ast.Call) or any(keyword.arg is None for keyword in tree.keywords):
        raise ValueError
    name = ast.unparse(tree.func)
    named = {keyword.arg: keyword.value for keyword in tree.keywords}
    given = bound(parameter_names(functions, name), tree.args, named) if tree.args else named
    arguments = {}
    for key, node in given.items():
        try:
            arguments[key] = ast.literal_eval(node)
        except ValueError:
            arguments[key] = ast.get_source_segment(text.strip(), node)
            findings.append(NOT_LITERAL)
    return call(name, arguments)


def _choose(folder: Path, split: str) -> Chosen:
    """Return the executable files, as TL-Training's footnote 5 evaluates on them.

    Of a folder without any, the AST files.
    """
    if split != "test":
        return Chosen(())
    found = sorted(path for path in folder.glob("BFCL_v*.json") if version_of(path) and path.is_file())
    executable = tuple(path for path in found if category_of(path) in EXECUTABLE)
    files = executable or tuple(path for path in found if category_of(path) in CHECKED and answers_path(path))
    why = "not of the executable split: name the file" if executable else "no AST file with possible answers"
    return Chosen(files, tuple((path, refusal(path) or why) for path in found if path not in files))


FAMILY = Family(
    name="bfcl",
    about="BFCL: the BFCL_v3_exec_*.json of a folder, or any BFCL_v{3,4}_*.json with its possible_answer/; a test set",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=_choose,
    split_of=always("test"),
    read=_read,
    records=_records,
)
