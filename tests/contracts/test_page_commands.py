"""Every command on a page is one that can be typed: its program, verb, options and files are there.

What needs more than a clone and its environment stands in NEEDS with its reason; its options are looked at all the
same. The quick ones run.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from llamafactory.hparams import parser

from llamafactory_ext import cli
from llamafactory_ext.commands import data_help
from llamafactory_ext.commands.usage import commands
from llamafactory_ext.methods import option_names
from llamafactory_ext.options.command_file import word_problems
from llamafactory_ext.options.fates.judge import defaults_of
from llamafactory_ext.serving.infer.options import InferOptions
from processes import run

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / place / "README.md" for place in ("examples", "data", "benchmarks", "src/llamafactory_ext/lab")),
    ]
)
PROGRAMS = ("llamafactory-cli", "llamafactory-ext", "make", "python")
# Why a command is not run here; everything else about it is checked.
NEEDS = {
    r"_(llama3|phi3|mistral|codellama)\b|toolalpaca_phi3|tl_codellama2": "a model of the Hugging Face hub and a GPU",
    r"--device cuda": "a GPU",
    r"downloads/|RoTBench|API-Bank|HumanEval|ToolAlpaca|preds\.jsonl": "published data, or answers to it",
    r"--judge|--tool_server": "a judge or a tool server",
    r"docker|vllm serve|api_server": "Docker, or vLLM's environment",
    r"export_dir|runs/|saves/|models/|verl_data|citi_api_bank|citi_toolalpaca": "what earlier commands made",
    r"^make (demo|test|bench|versions|upstream|vllm|eval|docs|check)": "minutes",
    r"^llamafactory-ext lab |benchmarks/|contracts/": "minutes, too",
    r"train .*_tiny\.yaml": "minutes; tests/examples run the files in a few steps",
    r"data (check (api_bank|data/)|mix|preview (api|tl)_|stats tl_)": "data that `data convert` makes",
    r"webui|\.\.\.|^llamafactory-cli (chat|api)": "somebody who types",
}


@dataclass(frozen=True)
class Typed:
    """A command of a page."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"


def typed(page: Path) -> Iterator[Typed]:
    """The commands in the fenced blocks of a page; variables before them and other programs are left out."""
    text = page.read_text("utf-8")
    for block in re.finditer(r"^```(?:bash|sh|shell)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, block.start()) + 2
        joined, start = "", line
        for raw in block[1].splitlines():
            joined = f"{joined} {raw.strip()}".strip() if joined else raw.strip()
            if joined.endswith("\\"):
                joined = joined[:-1].strip()
            else:
                yield from _commands(page, start, joined)
                joined, start = "", line + 1
            line += 1


def _commands(page: Path, line: int, text: str) -> Iterator[Typed]:
    for part in text.partition(" #")[0].split("&&"):
        bare = re.sub(r"^(?:[A-Z_]+=\S+\s+)+", "", part.strip())
        bare = re.sub(r"^\S*/bin/(python|pip)\b", r"\1", bare)
        if bare.partition(" ")[0] in PROGRAMS:
            yield Typed(page.relative_to(ROOT).as_posix(), line, bare)


ALL = [command for page in PAGES for command in typed(page)]


def reason(command: Typed) -> str | None:
    """Why a command is not run; None where it is."""
    return next((why for pattern, why in NEEDS.items() if re.search(pattern, command.text)), None)


def faults(command: Typed) -> list[str]:
    """What of a command does not exist, in words."""
    program, *words = command.words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
        return [word for word in words if "=" not in word and word not in targets]
    if program == "python":
        return _python_faults(words)
    if "..." in words:
        return []
    return _ext_faults(words) if program == "llamafactory-ext" else _cli_faults(words)


def _python_faults(words: list[str]) -> list[str]:
    if words[:1] == ["-m"]:
        return [] if words[1].startswith("vllm") or words[1] in ("venv", "pip") or find_spec(words[1]) else [words[1]]
    return [] if (ROOT / words[0]).is_file() or words[0].startswith("-") else [words[0]]


def _ext_faults(words: list[str]) -> list[str]:
    verb, *given = words
    if verb == "--help":
        return []
    if verb not in cli.VERBS:
        return [verb]
    module, name, _ = cli.VERBS[verb]
    known = commands(module, name, f"llamafactory-ext {verb}")
    if "" in known:
        command = known[""]
    elif given and given[0].replace("-", "_") in known:
        command, given = known[given[0].replace("-", "_")], given[1:]
    else:
        return given[:1] or [verb]
    if command.is_open:  # whose options stand in tables of their own
        names = {word[2:].partition("=")[0] for word in given if word.startswith("--")}
        own = getattr(data_help, command.words.rpartition(" ")[2].upper()).options if verb == "data" else None
        return sorted(names - {*(own or InferOptions.__dataclass_fields__), "help"})
    command.check(given)
    return []


def _cli_faults(words: list[str]) -> list[str]:
    verb, *given = words
    if verb in ("webui", "version", "env", "help") or not given:
        return []
    classes = parser._TRAIN_ARGS if verb == "train" else parser._INFER_ARGS
    known = {*defaults_of(classes), *option_names()}
    if given[0].endswith((".yaml", ".yml")):
        file = ROOT / given[0]
        if not file.is_file():
            return [given[0]] if given[0].startswith("examples/") else []
        names = {*yaml.safe_load(file.read_text("utf-8")), *(word.partition("=")[0] for word in given[1:])}
        return [
            *sorted(name.lstrip("~") for name in names if name.lstrip("~") not in known),
            *word_problems(given[1:]),
        ]
    return sorted(word[2:] for word in given if word.startswith("--") and word[2:].partition("=")[0] not in known)


def test_pages_hold_commands() -> None:
    assert len(ALL) > 60
    assert {command.page for command in ALL} >= {
        "README.md",
        "docs/citi.md",
        "docs/tl_training.md",
        "docs/evaluation.md",
    }
    used = {pattern for pattern in NEEDS if any(re.search(pattern, command.text) for command in ALL)}
    assert used == set(NEEDS)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.id)
def test_the_command_can_be_typed(command: Typed) -> None:
    assert faults(command) == [], command.text


QUICK = sorted({command.text for command in ALL if reason(command) is None})


@pytest.mark.parametrize("text", QUICK)
def test_the_command_runs(text: str, tmp_path: Path) -> None:
    """In a folder that has the repository's files, as the pages assume."""
    for name in ("examples", "data", "src", "docs", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    program, *words = shlex.split(text)
    command = [sys.executable, *words] if program == "python" else [program, *words]
    done = run(command, tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-1500:]
