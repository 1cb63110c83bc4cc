"""Read records of published layouts, and say what the examples hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamafactory_ext.data.family import Example
from llamafactory_ext.data.public.convert import FAMILIES, Conversion, Request, convert
from llamafactory_ext.templates.messages import read_calls, results

NEW = ("xlam", "toolace", "hermes", "apigen_mt")


def read(family: str, record: Any) -> Example:
    """The example of a record; fails where there is none."""
    outcome = FAMILIES[family].read(record)
    assert isinstance(outcome, Example), outcome
    return outcome


def said(example: Example) -> list[tuple[str, Any]]:
    """Each turn: words, or (thought, [(name, arguments), ...]), or the list of results."""
    found: list[tuple[str, Any]] = []
    for message in example.columns["conversations"]:
        role, text = message["from"], message["value"]
        if role == "function_call":
            read_turn = read_calls(text)
            assert read_turn is not None, text
            found.append((role, (read_turn.thought, [(call.name, call.arguments) for call in read_turn.calls])))
        else:
            found.append((role, list(results(text)) if role == "observation" else text))
    return found


def run(family: str, records: list[Any], folder: Path, name: str, **options: Any) -> tuple[Conversion, list[Any]]:
    """Convert a file of these records, as a list or as lines by its name."""
    source = folder / "in" / name
    source.parent.mkdir(exist_ok=True)
    source.write_text("\n".join(map(json.dumps, records)) if name.endswith("l") else json.dumps(records))
    result = convert(Request(family, source, folder / "out", **options))
    return result, json.loads(result.output.read_text(encoding="utf-8"))
