"""Every object that we replace, changed in every way: runs that are not ours end as without us, ours in one line.

A seeded sample by default; EVERY_CHANGE=1 (`make upstream-changes`) tries all.
"""

import functools
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.upstream.patches.features import Feature
from llamafactory_ext.upstream.patches.patch import Patch
from llamafactory_ext.upstream.patches.relies import Code, Has, Holds, Takes
from llamafactory_ext.upstream.patches.table import PATCHES, USES
from processes import environment, train_options, write_yaml

SAMPLE = 8
PLAIN = ("version", "parse", "train", "export", "webui")
OURS = {"citi": Feature.CITI, "tl_sft": Feature.TL_SFT, "tl_ppo": Feature.TL_PPO}
HARMLESS = ("none", "reworded", "wrapped")


@dataclass(frozen=True)
class Case:
    """One change of upstream."""

    kind: str
    module: str = ""
    symbol: str = ""
    word: str = ""
    snippet: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.kind, self.module.removeprefix("llamafactory."), self.symbol, self.word]))

    @property
    def switches_off(self) -> set[Feature]:
        """What of ours needs what has changed."""
        if self.kind in HARMLESS:
            return set()
        parts = (*PATCHES, *USES) if self.kind in ("moved", "asks") else PATCHES
        # A function with another parameter has it wherever it is imported from.
        rows = [
            row
            for row in parts
            if self.symbol in ("", row.symbol) and (row.module == self.module or self.kind == "asks")
        ]
        return {feature for row in rows for feature in row.needed_by}


def changes_of(row: Patch) -> Iterator[Case]:
    """All changes of the object of one row."""
    case = functools.partial(Case, module=row.module, symbol=row.symbol)
    yield from (case(kind) for kind in ("renamed", "deleted", "raises"))
    for statement in row.relies_on:
        if isinstance(statement, Takes) and not any(isinstance(other, Has) for other in row.relies_on):
            yield from (case(kind) for kind in ("asks", "replaced", "wrapped"))
        if isinstance(statement, Has):
            yield case("renamed", word=statement.method)
        if isinstance(statement, Holds):
            yield case("fixed")
        if isinstance(statement, Code):
            snippets = [snippet for snippet in statement.snippets if not snippet.isidentifier()]
            yield from (case("rewritten", snippet=snippet) for snippet in snippets)


def all_cases() -> list[Case]:
    """Every change of every row, and every module moved."""
    found = [case for row in PATCHES for case in changes_of(row)]
    # Python itself calls methods with underscores, and transformers calls `on_log`.
    found = [case for case in found if not case.word.startswith(("__", "on_"))]
    moved = [Case("moved", module) for module in dict.fromkeys(row.module for row in PATCHES)]
    return [*dict.fromkeys([*found, *moved])]


def chosen_cases() -> list[Case]:
    """All cases, or a sample that stays the same."""
    cases = all_cases()
    if os.environ.get("EVERY_CHANGE") != "1":
        cases = random.Random(17).sample(cases, SAMPLE)
    return [Case("none"), Case("reworded"), *cases]


class Server:
    """The fork server and the files that it works on."""

    def __init__(self, model: Path, data: Path, folder: Path) -> None:
        plain = train_options(model, data, folder / "out", max_steps=1, save_strategy="no", finetuning_type="lora")
        export = {"model_name_or_path": str(model), "template": "llama3", "finetuning_type": "lora"}
        options = {
            "train": plain | {"output_dir": "out"},
            "export": export | {"export_dir": "exported"},
            "citi": plain | {"finetuning_type": "citi"},
            "tl_sft": plain | {"stage": "tl_sft"},
            "tl_ppo": plain | {"stage": "tl_ppo"},
        }
        self.files: dict[str, Any] = {
            name: str(write_yaml(folder / f"{name}.yaml", given)) for name, given in options.items()
        }
        self.files["plain"] = plain
        self.log = (folder / "server.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("changed_upstream.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment(),
        )

    @functools.cache  # noqa: B019 - one server in a process
    def outcomes(self, case: Case, *, ours: bool) -> dict[str, Any]:
        """What became of every command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"id": str(case), "module": case.module, "symbol": case.symbol, "kind": case.kind, "ours": ours}
        print(
            json.dumps(asked | {"word": case.word, "snippet": case.snippet, "files": self.files}),
            file=self.process.stdin,
            flush=True,
        )
        answer = self.process.stdout.readline()
        self.log.seek(0)
        assert answer, self.log.read()[-3000:]
        found: dict[str, Any] = json.loads(answer)["outcomes"]
        assert "failed" not in found, found
        return found


@pytest.fixture(scope="module")
def server(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tiny_llama_dir, tiny_data_dir, tmp_path_factory.mktemp("changed"))
    yield started
    started.process.terminate()
    started.process.wait(timeout=30)
    started.process.stdin.close()  # type: ignore[union-attr]
    started.process.stdout.close()  # type: ignore[union-attr]
    started.log.close()


def ending(outcome: dict[str, Any]) -> dict[str, Any]:
    """How a command has ended, with its figures but without times."""
    kept = {name: outcome.get(name) for name in ("result", "exit", "error")}
    return kept | {"figures": re.findall(r"'(?:loss|grad_norm)': '[^']*'|Welcome.*", outcome["printed"])}


@pytest.mark.parametrize("case", chosen_cases(), ids=str)
def test_runs_that_are_not_ours_end_as_without_us_and_ours_in_one_line(case: Case, server: Server) -> None:
    # Upstream does after every change but one what it did before it.
    without = server.outcomes(case if case.kind == "deleted" else Case("none"), ours=False)
    found = server.outcomes(case, ours=True)
    assert {name: ending(found[name]) for name in PLAIN} == {name: ending(without[name]) for name in PLAIN}
    if case.kind != "deleted":  # upstream works after all other changes
        assert [name for name in PLAIN if "error" in without[name]] == []
    for name, feature in OURS.items():
        outcome = found[name]
        said = outcome["stderr"].strip()
        if feature in case.switches_off:
            assert "reached" not in outcome["printed"]
            assert said.splitlines()[-1:] == said.splitlines(), said
            assert said.startswith(f"UpstreamError: {feature} does not work with LLaMA-Factory "), said
            named = f"{case.module}.{case.symbol}" if case.symbol else case.module
            assert (case.symbol if case.kind == "asks" else named) in said
        elif "error" not in without["train"]:
            assert outcome["printed"] == "reached\n", outcome
            assert "Traceback" not in said
            assert "UpstreamError" not in said


def test_the_sample_is_of_all_kinds_of_change() -> None:
    kinds = {case.kind for case in all_cases()}
    assert kinds == {"renamed", "deleted", "raises", "asks", "replaced", "wrapped", "fixed", "rewritten", "moved"}
    assert len(all_cases()) > 200
    assert len({case.kind for case in chosen_cases()}) > 5
