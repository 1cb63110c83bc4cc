"""Every command that README and the pages show: it runs as it stands, or its options exist and the page says why not.

A page marks a block that cannot run here by a comment before it, `<!-- not run: REASON -->`. Long commands run with
tiny settings added. `pytest -rP` on this file lists what was only parsed, and why.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from llamafactory_ext import cli
from llamafactory_ext.commands.usage import Command, commands
from llamafactory_ext.serving.infer.options import InferOptions
from processes import BIN, run
from sampling import ALL

ROOT = Path(__file__).parents[2]
PAGES = (
    *("README.md", "CONTRIBUTING.md", "data/README.md", "examples/README.md", "benchmarks/README.md"),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
    *("evaluation/opencompass/README.md", "src/llamafactory_ext/lab/README.md"),
    "src/llamafactory_ext/metrics/README.md",
)
_MARK = re.compile(r"<!-- not run: (.*) -->")
_PROGRAMS = (
    *("llamafactory-cli ", "llamafactory-ext ", "make ", "python ", "python3 ", "torchrun ", "pip ", "git ", "vllm "),
    "examples/scripts/",
)
# What is added to a command so that it ends soon.
_SHORT = {
    "citi": ("max_samples=24", "citi_importance_samples=4"),
    "tl_ppo": ("max_samples=8", "max_steps=1"),
    "": ("max_samples=24", "max_steps=2"),
}
# Commands that take minutes whatever they are told, by what they are shown to do elsewhere.
_TESTED = {
    "llamafactory-ext lab demo": "tests/lab/test_demo.py",
    "llamafactory-ext lab ppo": "tests/lab/test_ppo.py",
    "llamafactory-ext tl export-verl": "tests/tl/ppo/test_verl_export.py",
    "torchrun": "tests/lab/test_pretrain.py",
    "examples/scripts/": "tests/examples/test_scripts.py",
}


@dataclass(frozen=True)
class Shown:
    """A command of a page.

    Attributes:
        page: where it stands.
        words: it, as a shell splits it.
        reason: why it is not run; empty where the page does not say so.
    """

    page: str
    words: tuple[str, ...]
    reason: str

    @property
    def name(self) -> str:
        return f"{self.page}: {' '.join(self.words)[:70]}"


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page that are no code of a language, each with the reason before it, if any."""
    reason, inside, lines = "", False, []
    for line in (ROOT / page).read_text("utf-8").splitlines():
        if line.startswith("```"):
            if inside:
                yield reason, "\n".join(lines)
                reason = ""
            inside, lines = not inside, []
        elif inside:
            lines.append(line)
        else:
            mark = _MARK.fullmatch(line)
            reason = mark[1] if mark else ""


def shown() -> Iterator[Shown]:
    """All commands of all pages, in their order."""
    for page in PAGES:
        for reason, text in blocks(page):
            for line in text.replace("\\\n", " ").splitlines():
                words = re.sub(r"\s+#.*$", "", line).strip()
                words = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", words)
                words = re.sub(r"^\.venv-\w+/bin/", "", words)
                if words.startswith(_PROGRAMS):
                    yield Shown(page, tuple(shlex.split(re.sub(r" \[[^\]']*\]$", "", words))), reason)


SHOWN = list(shown())
MARKED = [one for one in SHOWN if one.reason]


def why_only_parsed(one: Shown) -> str:
    """Why a command without a mark is not run either; empty if it is run."""
    text = " ".join(one.words)
    for start, test in _TESTED.items():
        if text.startswith(start):
            assert (ROOT / test).is_file()
            return f"takes minutes, or published models; {test} runs it"
    if one.words[:2] == ("llamafactory-cli", "train"):
        model = yaml.safe_load((ROOT / one.words[2]).read_text("utf-8"))["model_name_or_path"]
        if not (ROOT / model).is_dir() and not model.startswith("saves/"):
            return "its model is on a hub; tests/examples/test_yamls.py runs the file on a tiny one"
    return ""


_ANYWHERE = ("llamafactory-ext", "doctor")  # runs in every environment, also behind commands that install
RUN = [one for one in SHOWN if one.words == _ANYWHERE or not (one.reason or why_only_parsed(one))]
PARSED = [one for one in SHOWN if one not in RUN]


def test_the_pages_have_commands() -> None:
    assert {one.page for one in SHOWN} > {"README.md", "examples/README.md", "docs/tl_training.md"}
    assert len(RUN) > 8
    assert len(PARSED) > 30
    assert all(len(one.reason) > 3 for one in MARKED)


@pytest.mark.fast
@pytest.mark.parametrize("one", PARSED, ids=lambda one: one.name)
def test_what_it_says_exists(one: Shown) -> None:
    print(f"{one.name}: only parsed: {one.reason or why_only_parsed(one)}")
    program, *words = one.words
    if program == "llamafactory-ext":
        parse_ours(words)
    elif program == "llamafactory-cli" and words[:1] == ["train"]:
        assert isinstance(yaml.safe_load((ROOT / words[1]).read_text("utf-8")), dict)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert words[0] in targets
    elif program.startswith("examples/scripts/"):
        parse_script(ROOT / program, words)
    elif program == "python" and words[0].endswith(".py"):
        parse_python(ROOT / words[0], words[1:])
    elif program == "torchrun":
        parse_ours(words[words.index("llamafactory-ext") + 1 :])
    else:
        assert program in ("python", "python3", "pip", "git", "vllm", "llamafactory-cli")


def parse_ours(words: list[str]) -> None:
    """The verb, the command and all options exist."""
    verb, *rest = words
    module, name, _ = cli.VERBS[verb]
    known: dict[str, Command] = commands(module, name, verb)
    command = known[""] if "" in known else known[rest[0].replace("-", "_")]
    given = rest if "" in known else rest[1:]
    if verb == "infer":
        assert all(word.startswith("--") for word in given[::2])
        InferOptions.of({name.removeprefix("--"): value for name, value in zip(given[::2], given[1::2], strict=True)})
    else:
        command.check(given)


def parse_script(script: Path, words: list[str]) -> None:
    """The script's help names every option before `--`."""
    told = run(["bash", str(script), "--help"], ROOT).stdout
    own = words[: words.index("--")] if "--" in words else words
    for word in own:
        if word.startswith("--") and own[own.index(word) - 1] != "--sbatch":
            assert re.search(rf"{re.escape(word)}\b", told), f"{script.name} --help does not name {word}"


def parse_python(program: Path, words: list[str]) -> None:
    """The program's source names every option."""
    source = program.read_text("utf-8") + "".join(
        path.read_text("utf-8") for path in program.parent.rglob("*.py") if program.name == "run.py"
    )
    for word in words:
        if word.startswith("--"):
            assert word.removeprefix("--") in source or f'"{word}"' in source, f"{program} does not know {word}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as far as commands see it: what they write stays here."""
    path = tmp_path_factory.mktemp("clone")
    for name in ("src", "examples", "docs", "evaluation", "benchmarks"):
        (path / name).symlink_to(ROOT / name)
    (path / "data").mkdir()
    for file in ("dataset_info.json", "lab_tool.json", "lab_general.json", "lab_trajectories.json"):
        shutil.copy(ROOT / "data" / file, path / "data" / file)
    return path


def with_tiny_settings(one: Shown, folder: Path) -> list[str]:
    """The command, ending soon."""
    words = [word.replace("DIR", "made") if word == "DIR" else word for word in one.words]
    if words[:2] == ["llamafactory-cli", "train"]:
        options = yaml.safe_load((ROOT / words[2]).read_text("utf-8"))
        kind = next(
            (kind for kind in ("citi", "tl_ppo") if kind in (options["finetuning_type"], options["stage"])), ""
        )
        words += _SHORT[kind]
    if words[:3] == ["llamafactory-ext", "lab", "build"]:
        words += ["--steps", "2"]
    if words[:3] == ["llamafactory-ext", "lab", "evaluate"]:
        words += ["--limit", "2"]
    return words


def chosen() -> list[Shown]:
    """All commands that run; beside `make test-all` only one of those that train."""
    heavy = [one for one in RUN if one.words[0] == "llamafactory-cli"]
    one_of_them = [one for one in heavy if one.words[-1].endswith("tl_sft_tiny.yaml")][:1]
    return RUN if ALL else [one for one in RUN if one not in heavy] + one_of_them


def test_it_runs_as_it_stands(folder: Path) -> None:
    """In the pages' order, as a reader types them; a command that stands on two pages runs once."""
    done: set[tuple[str, ...]] = set()
    for one in chosen():
        if one.words in done:
            continue
        done.add(one.words)
        words = with_tiny_settings(one, folder)
        result = run(words, folder, "exit\n", PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
        assert result.returncode == 0, f"{one.name}\n{result.stdout[-2000:]}\n{result.stderr[-3000:]}"
        assert "Traceback" not in result.stderr
    assert len(done) >= 6
