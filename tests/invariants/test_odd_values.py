"""Every option of every command with every odd value: it works, or one message and exit code 2; no file changes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from commands.test_usage import ALL
from invariants.writing_verbs import VERBS, Verb, call, content, fill
from llamafactory_ext.commands.usage import Argument
from sampling import sample

NUMBERS = ("x", "nan", "inf", "-1", "0", "1.5", "9" * 30, "9" * 400, "1e400", "1,2", "[]", "None", "true", "")
TEXTS = (
    *(
        "nope",
        "",
        " ",
        ".",
        "..",
        "a/b/c",
        "x" * 300,
        "x" * 5_000,
        "\udcff",
        "a\nb",
        "\x1b[31m",
        "-",
        "None",
        "0",
        "a,b",
    ),
    *("data", "model", "binary", "pipe", "broken.json", "deep.json", "*", "{}"),
)
# Commands that only read.
READERS = {
    "doctor": "",
    "data check": "calls --dataset_dir data",
    "importance show": "importance.json",
    "etapp cases": "",
    "etapp agree": "acted.jsonl acted.jsonl",
    "skintern preview": "sums --dataset_dir data --steps 2",
    "skintern flops": "model --prompt 10,5",
}
ROWS = {name: verb for name, verb in VERBS.items() if verb is not None and not verb.is_long}
ROWS |= {name: Verb(words) for name, words in READERS.items() if name != "doctor"}
CASES = [
    (name, argument, odd)
    for name in ROWS
    for command in ALL
    if command.words == f"llamafactory-ext {name}"
    for argument in command.arguments
    for odd in (TEXTS if argument.kind in ("str", "str | None") else NUMBERS)
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "filled"
    fill(folder, tiny_llama_dir)
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    (folder / "broken.json").write_text('{"a": [1,', encoding="utf-8")
    (folder / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    import llamafactory_ext.data.preview.examples
    import llamafactory_ext.figures.run
    import llamafactory_ext.upstream.pipeline.previewing  # noqa: F401

    return folder


def test_every_command_that_ends_soon_is_here() -> None:
    long = {name for name, verb in VERBS.items() if verb is not None and verb.is_long}
    assert {*ROWS, *long, "doctor", "etapp serve"} == set(VERBS)


@pytest.mark.parametrize(
    ("name", "argument", "odd"), sample(CASES, 60), ids=lambda value: ascii(getattr(value, "name", value))[:20]
)
def test_an_odd_value(name: str, argument: Argument, odd: str, filled: Path, tmp_path: Path) -> None:
    folder, verb = tmp_path / "here", ROWS[name]
    shutil.copytree(filled, folder)
    os.mkfifo(folder / "pipe")
    before = content(folder)
    run = call(name, verb, folder, verb.out, lambda: sys.argv.append(f"--{argument.name}={odd}"))
    assert run.wait() in (0, 2), run.said()
    said = run.said()
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert max(map(len, said.splitlines()), default=0) < 2_000
    after = content(folder)
    assert {path for path in before if after.get(path) != before[path]} <= {"data/dataset_info.json"}
    assert not [path for path in after if "llamafactory_ext.tmp" in path]
