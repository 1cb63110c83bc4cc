"""Changed files: every reader takes them or refuses them in a line of ours; a traceback is a fault.

A seeded sample of the calls runs each time, 50,000 with ALL_TESTS=1.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import sampling
from llamafactory_ext.errors import ExtError
from security.readers import READERS, importance_text

CALLS = 50_000 if sampling.ALL else 3_000
DEEP = 3_000
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**70, 1e308, float("inf"), float("nan"), "", " ", "\ud800", "a\x00b", "\x1b[31m"),
    *("../../x", "x" * 5_000, [], {}, [[]], [None], {"": None}, ["\ud800"], {"a": [1]}, "{", "[1", "null", "1e999"),
)
BYTES = (
    b"",
    b"\xff\xfe",
    b"\x00",
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b"\xef\xbb\xbf",
    b'"\\ud800"',
    b"NaN",
    b"9" * 5_000,
    b"\n",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a value, its own first."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in places(item, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    """The value with another at one place: odd, gone, doubled, nested deeply, or under another name."""
    if not path:
        return rng.choice(ODD)
    copy = json.loads(json.dumps(value))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    key, how = path[-1], rng.randrange(6)
    if how == 0:
        del inside[key]
    elif how == 1:
        inside[key] = [inside[key]]
    elif how == 2 and isinstance(inside, dict):
        inside[rng.choice(("", "\ud800", "from", "role", "x"))] = inside.pop(key)
    elif how == 3:
        deep: Any = 1
        for _ in range(rng.choice((30, 300))):
            deep = [deep]
        inside[key] = deep
    else:
        inside[key] = rng.choice(ODD)
    return copy


def mutated(name: str, text: str, rng: random.Random) -> bytes:
    if rng.random() < 0.3 or name == "etapp table":
        content = bytearray(text.encode())
        place = rng.randrange(len(content) + 1)
        content[place : place + rng.choice((0, 0, 1, 5))] = rng.choice(BYTES)
        return bytes(content)
    if name in ("yaml", "cl comparison"):
        lines = text.splitlines()
        odd = (
            "a: &a [*a]",
            "x: !!python/object:os.system y",
            "- 1",
            ": :",
            "a: " + "[" * DEEP,
            "<<: 1",
            "dataset: 7",
            "\t",
        )
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(odd))
        return "\n".join(lines).encode()
    is_lines = not text.startswith("[") and "\n{" in text
    values = [json.loads(line) for line in text.splitlines()] if is_lines else json.loads(text)
    for _ in range(rng.choice((1, 1, 2))):
        values = changed(values, rng.choice(places(values)), rng)
    if is_lines and isinstance(values, list):
        return "".join(json.dumps(value) + "\n" for value in values).encode()
    return json.dumps(values).encode()


@pytest.mark.parametrize("name", READERS)
def test_no_traceback(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, text, read = READERS[name]
    text = text or importance_text(tmp_path)
    rng = random.Random(name)
    faults: dict[str, bytes] = {}
    refused = 0
    for number in range(CALLS // len(READERS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        content = text.encode() if number == 0 else mutated(name, text, rng)
        (folder / file).write_bytes(content)
        try:
            read(folder / file)
        except ExtError as error:
            refused += 1
            if number == 0 or "Traceback" in error.message:
                faults[error.message] = content[:300]
        except Exception as error:
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "?"
            faults.setdefault(f"{type(error).__name__} at {place}: {str(error)[:80]}", content[:300])
        shutil.rmtree(folder)
    assert not faults, "\n".join(f"{fault}  {content!r}" for fault, content in faults.items())
    assert refused > 0


@pytest.mark.parametrize("odd", [None, 7, {"": None}, [1], "text"])
def test_a_key_without_a_name_is_no_column(odd: Any, tmp_path: Path) -> None:
    """An entry that names no column of system texts has none, whatever a record keeps under an empty key."""
    file, text, read = READERS["openai"]
    records = [{**record, "": odd} for record in json.loads(text)]
    (tmp_path / file).write_text(json.dumps(records), encoding="utf-8")
    read(tmp_path / file)
