"""Every command that README and the pages show: it runs as it stands, or its options exist and the page says why not.

A page marks a block that cannot run here by a comment before it, `<!-- not run: REASON -->`. Long commands run with
tiny settings added. `pytest -rP` on this file lists what was only parsed, and why.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from llamafactory.hparams import parser

from forked import run
from llamafactory_ext import cli
from llamafactory_ext.commands import data_help
from llamafactory_ext.commands.usage import commands
from llamafactory_ext.options.command_file import word_problems
from llamafactory_ext.options.fates.judge import defaults_of
from llamafactory_ext.options.groups import option_names
from llamafactory_ext.serving.infer.options import InferOptions
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
    "llamafactory-ext analyse": "tests/analyse/test_analyse.py",
    "llamafactory-ext cl run": "tests/cl/test_driver.py",
    "llamafactory-ext lab table": "tests/lab/test_table.py",
    **({} if ALL else {"llamafactory-ext lab build": "tests/lab/test_pretrain.py"}),
    "llamafactory-ext lab ppo": "tests/lab/test_ppo.py",
    "llamafactory-ext lab rl": "tests/lab/test_rl.py",
    "llamafactory-ext lab tl": "tests/lab/test_tl.py",
    "llamafactory-ext lab real-model": "tests/lab/test_real_model.py",
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
@pytest.mark.parametrize("one", SHOWN, ids=lambda one: one.name)
def test_what_it_says_exists(one: Shown) -> None:
    if one in PARSED:
        print(f"{one.name}: only looked up: {one.reason or why_only_parsed(one)}")
    program, *words = one.words
    if "..." in words:
        return
    if program in ("llamafactory-ext", "torchrun"):
        assert _ext_faults(words[words.index("llamafactory-ext") + 1 :] if program == "torchrun" else words) == []
    elif program == "llamafactory-cli":
        assert _cli_faults(words) == []
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert words[0] in targets
    elif program.startswith("examples/scripts/"):
        parse_script(ROOT / program, words)
    elif program == "python" and words[0].endswith(".py"):
        parse_python(ROOT / words[0], words[1:])
    else:
        assert program in ("python", "python3", "pip", "git", "vllm")


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
    command.read(given)
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
    for file in ["dataset_info.json", *(path.name for path in (ROOT / "data").glob("lab_*.json"))]:
        shutil.copy(ROOT / "data" / file, path / "data" / file)
    return path


def with_tiny_settings(one: Shown, folder: Path) -> list[str]:
    """The command, ending soon."""
    made = "made" if ALL else "src/llamafactory_ext/lab/model"
    words = [made if word == "DIR" else word for word in one.words]
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
        result = run(words, folder, "exit\n")
        assert result.returncode == 0, f"{one.name}\n{result.stdout[-2000:]}\n{result.stderr[-3000:]}"
        assert "Traceback" not in result.stderr
    assert len(done) >= 6
