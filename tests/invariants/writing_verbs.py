"""Every command of `llamafactory-ext`: what it writes and reads in a small folder; a new one needs a line here."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from citi.test_importance_file import FULL
from cl.comparisons import options_of
from data.samples import write_sample
from data.test_mix import alpaca, put
from etapp.small_checkout import make
from llamafactory_ext import cli
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.serving.infer import run as infer_run
from llamafactory_ext.serving.infer.prompts import Prompt
from llamafactory_ext.skintern.score import READINGS, Reading, Scores
from metrics.benchmarks.test_rotbench import WEATHER, record
from metrics.published_data import write_predictions
from tl import trajectories


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
        words: its arguments in the folder of `fill`; `{out}` is where it writes.
        out: the usual value of `{out}`.
        writes: files, from the folder of `fill`, where `{out}` stands for its value.
        is_long: it takes minutes: only what it refuses at its start is tried.
    """

    words: str
    out: str = ""
    writes: tuple[str, ...] = ()
    is_long: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it writes files of names of its own into the folder that `{out}` names."""
        return any(name.startswith("{out}/") for name in self.writes)


# What a run of the lab writes beside its folder.
RUN = ("lora", "lora.begun", "lora.json", "lora.train.log", "lora.evaluate.log", "lora.scores.json")
VERBS: dict[str, Verb | None] = {
    "doctor": None,
    "examples": Verb("--out {out}", "shown", ("{out}/examples/yaml/citi_tiny.yaml", "{out}/data/lab_tool.json")),
    "data convert": Verb(
        "gsm8k --source in/gsm8k_train.jsonl --out data --dataset_name {out}",
        "converted",
        ("data/{out}.json", "data/{out}.report.json"),
    ),
    "data mix": Verb(
        "--tool calls --general sums --per_general 3 --dataset_dir data --dataset_name {out}",
        "mixed",
        ("data/{out}.json", "data/{out}.report.json"),
    ),
    "data check": None,
    "data preview": Verb(
        "calls --dataset_dir data --template default --model model --html {out}", "shown.html", ("{out}",)
    ),
    "data stats": Verb(
        "trajectories.json --out {out}", "stats", ("{out}/error_statistics.json", "{out}/error_statistics.png")
    ),
    "importance show": None,
    "importance plot": Verb("importance.json --top 0.4 --bottom 0.4 --out {out}", "map.png", ("{out}",)),
    "analyse icc": Verb(
        "--yaml run.yaml --trained same=model --inputs 2 --out {out}", "icc", ("{out}/icc.json", "{out}/icc.png")
    ),
    "analyse overlap": Verb("importance.json --out {out}", "overlap", ("{out}/overlap.json", "{out}/overlap.png")),
    "analyse replace": Verb(
        "--yaml run.yaml --trained model --importance importance.json --out {out}",
        "replaced",
        ("{out}/replace.json", "{out}/replace.png"),
        is_long=True,
    ),
    "analyse routers": Verb(
        "--yaml run.yaml --adapter model --out {out}",
        "routers",
        ("{out}/routers.json", "{out}/routers.png"),
        is_long=True,
    ),
    "infer": Verb(
        "--dataset questions.json --model m --backend openai --out {out}", "a.jsonl", ("{out}", "{out}.settings.json")
    ),
    "score": Verb(
        "rotbench --predictions p.jsonl --references refs --out {out}",
        "scores.json",
        ("{out}", "scores.verdicts.jsonl"),
    ),
    "report": Verb(
        "ours=scores --out {out}", "tables", tuple(f"{{out}}/report.{end}" for end in ("md", "json", "html"))
    ),
    "etapp cases": None,
    "etapp inventory": Verb("clone --out {out}", "inventory.json", ("{out}",)),
    "etapp demo": Verb("--out {out}", "etapp", tuple(f"{{out}}/{file}" for file in ("report.json", "gold.jsonl"))),
    "etapp run": Verb(
        "--model m --url http://127.0.0.1:9/v1 --retries 0 --out {out}", "acts.jsonl", ("{out}",), is_long=True
    ),
    "etapp check": Verb("--predictions acted.jsonl --out {out}", "checked.json", ("{out}", "checked.verdicts.jsonl")),
    "etapp judge": Verb("--predictions acted.jsonl --out {out}", "judged.json", ("{out}",), is_long=True),
    "etapp agree": None,
    "etapp report": Verb(
        "acted.jsonl --out {out}", "acts", tuple(f"{{out}}/report.{end}" for end in ("md", "json", "html"))
    ),
    "etapp split": Verb("--train 8 --out {out}", "parts", ("{out}/train.txt", "{out}/test.txt")),
    "etapp export-sft": Verb("--predictions acted.jsonl --out {out}", "sft/etapp_sft.json", ("{out}",)),
    "etapp serve": None,
    "tl export-verl": Verb("ppo.yaml --out {out}", "verl", ("{out}/train.parquet",), is_long=True),
    "skintern build": Verb(
        "sums --dataset_dir data --out {out} --steps 2",
        "steps",
        tuple(f"{{out}}/step-{step}/{name}" for step in (1, 2) for name in ("records.jsonl", "dataset_info.json")),
    ),
    "skintern collect": Verb(
        "sums --dataset_dir data --out {out}",
        "taught",
        tuple(f"{{out}}/{name}" for name in ("records.jsonl", "dataset_info.json", "report.json")),
        is_long=True,
    ),
    "skintern preview": None,
    "skintern score": Verb(
        "gsm8k --predictions sums.jsonl --references test.jsonl --out {out}", "sums.json", ("{out}",)
    ),
    "skintern report": Verb(
        "ours=sums.skintern.json --out {out}",
        "drawn",
        tuple(f"{{out}}/report.{end}" for end in ("json", "png", "html")),
    ),
    "skintern flops": None,
    "cl run": Verb("cl.yaml", "compared", ("compared/result.json",), is_long=True),
    "cl convert": Verb("trace --source trace --out {out}", "task", ("{out}/train.json", "{out}/test.json")),
    "lab sequence": Verb("--out {out}", "sequence", ("{out}/general.json",)),
    "lab data": Verb("--out {out}", "lab", ("{out}/lab_tool.json", "{out}/lab_trajectories.json")),
    "lab build": Verb("{out}", "built", ("{out}/config.json",), is_long=True),
    "lab real-model": Verb("{out} --wheel model.whl", "real", ("{out}/config.json",), is_long=True),
    "lab evaluate": Verb("--limit 1 --out {out}", "abilities.json", ("{out}",), is_long=True),
    "lab demo": Verb(
        "--out {out}",
        "demo",
        ("{out}/report.json", "{out}/report.png", *(f"{{out}}/{name}" for name in RUN), "{out}/base.json"),
        is_long=True,
    ),
    "lab table": Verb(
        "--out {out}",
        "table",
        (
            *("{out}/lab.json", "{out}/lab.md", "{out}/lab.png", "{out}/lab/lora-42.json"),
            *(f"{{out}}/runs/{name}" for name in ("lora-42.train.log", "ft-trial-0", "citi-43.scores.json")),
        ),
        is_long=True,
    ),
    "lab ppo": Verb(
        "--out {out}",
        "ppo",
        ("{out}/ppo.json", "{out}/ppo.png", "{out}/sft-1", "{out}/sft-2.log", "{out}/seed-1", "{out}/seed-3.log"),
        is_long=True,
    ),
    "lab rl": Verb(
        "--out {out}",
        "rl",
        (
            "{out}/rl.json",
            "{out}/rl.png",
            "{out}/start-1",
            "{out}/start-played.log",
            "{out}/group-1",
            "{out}/sft-3.log",
        ),
        is_long=True,
    ),
    "analyse components": Verb(
        "--out {out}",
        "components",
        (
            *("{out}/components.json", "{out}/components.png", "{out}/components/lora_top-42.json"),
            *("{out}/runs/full_bottom-42", "{out}/runs/lora_random-42.train.log"),
        ),
        is_long=True,
    ),
    "lab tl": Verb(
        "--out {out}",
        "tl",
        ("{out}/tl.json", "{out}/tl.png", "{out}/none-1", "{out}/all-3.log", "{out}/data/tl_flawed.json"),
        is_long=True,
    ),
}


def fill(folder: Path, model: Path) -> None:
    """Make the inputs of every command in a folder."""
    (folder / "data").mkdir(parents=True)
    put(folder / "data", "calls", alpaca("tool", "tool", 4))
    put(folder / "data", "sums", alpaca("general", "math", 5))
    write_sample("gsm8k", folder / "in", "gsm8k_train.jsonl")
    (folder / "trajectories.json").write_text(json.dumps(trajectories.records(4)))
    FULL.save(folder / "importance.json")
    (folder / "questions.json").write_text(json.dumps(alpaca("tool", "tool", 3)))
    (folder / "refs").mkdir()
    (folder / "refs" / "clean.json").write_text(json.dumps([record(WEATHER)] * 3))
    write_predictions(folder / "p.jsonl", "rotbench", {"clean:0": WEATHER, "clean:2": "Action: none"})
    (folder / "test.jsonl").write_text(json.dumps({"question": "How many?", "answer": "#### 7"}) + "\n")
    write_predictions(folder / "sums.jsonl", "gsm8k", {"test:0": "Therefore, the answer is 7."})
    readings = dict.fromkeys(READINGS, Reading(0.5, 0.1, 4))
    (folder / "sums.skintern.json").write_text(json.dumps(Scores("gsm8k", readings, 4).to_json()))
    (folder / "scores").mkdir()
    (folder / "scores" / "rotbench.official.json").write_text(
        json.dumps(
            {
                "benchmark": "rotbench",
                "mode": "official",
                "figures": [{"name": "TS", "value": 0.5, "n": 2, "parse_failures": 0, "standard_error": None}],
                "predictions_sha256": "a",
                "references_sha256": "b",
                "model_hashes": ["c"],
                "n_references": 3,
                "n_predictions": 2,
                "notes": [],
                "judge": None,
            }
        )
    )
    make(folder / "clone")
    source = load()
    run(source, source.cases[:2], agent("gold", load_gold()), {}, RunOptions(quiet=True), folder / "acted.jsonl")
    run_yaml = {"model_name_or_path": "model", "template": "default", "dataset": "calls,sums"}
    (folder / "run.yaml").write_text(json.dumps(run_yaml))
    (folder / "ppo.yaml").write_text("stage: tl_ppo\n")
    comparison = options_of(folder / "cl", Path("model"), out="compared")
    (folder / "cl.yaml").write_text(json.dumps(comparison))
    (folder / "trace").mkdir()
    for split, count in (("train", 6), ("test", 3)):
        items = [{"prompt": f"{split} {number}", "answer": str(number)} for number in range(count)]
        (folder / "trace" / f"{split}.json").write_text(json.dumps(items))
    (folder / "model").mkdir()
    for file in model.iterdir():
        (folder / "model" / file.name).write_bytes(file.read_bytes())


class _Backend:
    """Answers without a model."""

    def identity(self) -> dict[str, Any]:
        return {"model": "none"}

    def prompt(self, question: Any) -> Prompt:
        return Prompt(question, "?")

    def answers(self, prompts: Any) -> Any:
        return ((prompt, "answer") for prompt in prompts)

    def close(self) -> None:
        pass


def call(name: str, verb: Verb, folder: Path, out: str, before: Callable[[], None] | None = None) -> SimpleNamespace:
    """Run a command in the folder in a process of its own; returns its number and a way to wait for its code."""
    log = folder.parent / f"{folder.name}.log"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            signal.alarm(300)  # one that waits for ever fails
            os.chdir(folder)
            said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(said, 1)
            os.dup2(said, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            infer_run.backend_of = lambda options: _Backend()  # type: ignore[assignment]
            sys.argv = ["llamafactory-ext", *name.split(), *verb.words.format(out=out).split()]
            if before is not None:
                before()
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return SimpleNamespace(
        number=child, wait=lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said=log.read_text
    )


def content(folder: Path) -> dict[str, bytes]:
    """Everything in a folder by path; folders too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"(folder)"
        for path in folder.rglob("*")
    }
