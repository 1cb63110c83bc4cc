"""The items of BFCL's files, with their answers, and what is said of files that belong elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...data.public.bfcl_files import (
    CHECKED,
    DETECTION,
    EXECUTABLE,
    MULTI_TURN,
    answers_path,
    category_of,
    paired_answers,
    refusal,
    version_of,
)
from ...errors import DataError, OptionError
from ..answers import Context
from ..references import Item, Required, records
from .bfcl_multi_turn.checkout import MODULES
from .python_calls import VERSIONS, Version

_AST = CHECKED | DETECTION
_OWNERS = {"bfcl": EXECUTABLE, "bfcl_ast": _AST}


def _listed(path: Path, required: Required, wanted: frozenset[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a file's records under their places; an id that v3 gives twice gets "#2" the second time."""
    reason = None
    if version_of(path) and category_of(path) not in wanted:
        other = next((name for name, categories in _OWNERS.items() if category_of(path) in categories), "")
        reason = refusal(path) or f"{path.name} belongs to the benchmark {other}; score it there."
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    seen: dict[str, int] = {}
    found = []
    for place, record in records(path, required):
        count = seen[record["id"]] = seen.get(record["id"], 0) + 1
        found.append((place, record if count == 1 else {**record, "id": f"{record['id']}#{count}"}))
    return found


def _with_answers(
    path: Path, listed: list[tuple[str, Mapping[str, Any]]], key: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records with their answers under `key`."""
    answers_file = answers_path(path) or path.parent / "possible_answer" / path.name
    answers = [answer for _, answer in records(answers_file, {"id": str, "ground_truth": list})]
    found = paired_answers([record for _, record in listed], answers)
    for (place, record), answer in zip(listed, found, strict=True):
        if answer is None:
            raise DataError(
                f"{path}, {place}: {answers_file} has no answer for {record['id']}; get both files of one version."
            )
        yield place, {**record, key: answer}


def executable_items(path: Path, required: Required) -> Iterator[Item]:
    """Yield the items of an executable file; since March 2025 its gold calls lie in a file of their own."""
    listed = _listed(path, required, EXECUTABLE)
    if answers_path(path) and not any("ground_truth" in record for _, record in listed):
        listed = list(_with_answers(path, listed, "ground_truth"))
    for place, record in listed:
        if not isinstance(record.get("ground_truth"), list):
            raise DataError(
                f"{path}, {place}: 'ground_truth' is missing or no list; this is no executable file of BFCL, or its "
                "possible_answer/ is missing. Get the published files."
            )
        yield Item(str(record["id"]), category_of(path), record)


def ast_items(path: Path, required: Required) -> Iterator[Item]:
    """Yield the items of a file that is checked by its syntax tree, with their possible answers."""
    listed = _listed(path, required, _AST)
    detects = category_of(path) in DETECTION
    for _, record in listed if detects else _with_answers(path, listed, "possible_answer"):
        yield Item(str(record["id"]), category_of(path), record)


def multi_turn_items(path: Path, required: Required) -> Iterator[Item]:
    """Yield the items of a multi_turn file, with the gold calls of each turn."""
    for place, record in _with_answers(path, _listed(path, required, MULTI_TURN), "ground_truth"):
        gold, turns = record["ground_truth"], record["question"]
        if len(gold) != len(turns) or not all(isinstance(calls, list) for calls in gold):
            raise DataError(
                f"{path}, {place}: {len(turns)} turns, but gold calls of {len(gold)}; get both files again."
            )
        if not all(isinstance(call, str) for calls in gold for call in calls):
            raise DataError(f"{path}, {place}: a gold call is no text; get the published files again.")
        if not all(isinstance(said, list) and all(map(_is_message, said)) for said in turns):
            raise DataError(f"{path}, {place}: a turn is no list of messages; get the published files again.")
        held = record.get("missed_function") or {}
        if not isinstance(held, dict) or not all(turn.isdecimal() and isinstance(held[turn], list) for turn in held):
            raise DataError(f"{path}, {place}: 'missed_function' names no turns; get the published files again.")
        unknown = [name for name in record["involved_classes"] if name not in tuple(MODULES)]
        if unknown:
            raise DataError(f"{path}, {place}: {unknown[0]!r} is none of the API classes {', '.join(MODULES)}.")
        yield Item(str(record["id"]), category_of(path).removeprefix("multi_turn_"), record)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def check_files(files: tuple[Path, ...], path: Path) -> tuple[str, ...]:
    """Make sure that files are of one version; name those of the folder that no scorer of ours reads.

    Args:
        files: that are read.
        path: as it was given.

    Raises:
        DataError: they are of two versions.
    """
    versions = sorted({version_of(file) for file in files} - {""})
    if len(versions) > 1:
        raise DataError(
            f"{path} holds files of BFCL {' and '.join(versions)}; name a folder or a file of one version."
        )
    if path.is_file() or not versions:
        return ()
    beside = set(files[0].parent.glob("BFCL_*.json")) - set(files)
    found = sorted(file for file in beside if version_of(file) and refusal(file))
    names = ", ".join(category_of(file) for file in found)
    return (f"Files of the folder that are not scored here: {names}.",) if names else ()


def decoder(context: Context) -> Version:
    """Return whose decoder reads the predictions: the one asked for, else as the files' names say.

    Raises:
        OptionError: there is none of this name.
    """
    given, files = str(context.options.get("bfcl_version") or ""), context.references.files
    named = given or next((version_of(file) for file in files if version_of(file)), VERSIONS[0])
    for version in VERSIONS:
        if version == named:
            return version
    raise OptionError(f"There is no decoder of BFCL {given!r}; choose one of {', '.join(VERSIONS)}.")
