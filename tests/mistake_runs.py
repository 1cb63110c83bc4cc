"""A server of commands: imports LLaMA-Factory once, forks for every command, and says how each ended.

`python mistake_runs.py cases.json results.json 2` runs `llamafactory-cli` with the words of each case, two at once.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def run_case(case: dict[str, Any]) -> int:
    """Run a command in this process as the interpreter would, up to its exit code."""
    import transformers
    from llamafactory.cli import main

    os.environ.update(case.get("environment", {}))
    load = transformers.AutoModelForCausalLM.from_pretrained.__func__

    def noticed(*args: Any, **kwargs: Any) -> Any:
        print("A MODEL IS LOADED", flush=True)
        return load(*args, **kwargs)

    transformers.AutoModelForCausalLM.from_pretrained = classmethod(noticed)
    if "moment" in case:
        signal_at(case["moment"], case["signal"], case.get("after", 1))
    sys.argv = ["llamafactory-cli", *case["words"]]
    try:
        main()
    except SystemExit as error:
        return _code(error)
    except BaseException:
        try:
            sys.excepthook(*sys.exc_info())
        except SystemExit as error:
            return _code(error)
        return 1
    return 0


MOMENTS = {
    "options": ("llamafactory.train.tuner", "get_train_args"),
    "tokenizer": ("llamafactory_ext.upstream.pipeline.session", "load_tokenizer"),
    "model": ("llamafactory_ext.{room}", "load_model"),
    "importance": ("llamafactory_ext.citi.scoring", "part_scores"),
    "step": ("transformers.trainer:Trainer", "training_step"),
    "rollout": ("llamafactory_ext.tl.ppo.acting", "draw_responses"),
    "save": ("llamafactory_ext.checkpoint.saving:SafeCheckpoints", "_save_checkpoint"),
    "evaluation": ("transformers.trainer:Trainer", "prediction_step"),
}


def signal_at(moment: str, number: int, after: int) -> None:
    """Send this process a signal in the middle of the `after`-th call of a function of the run."""
    for room in ("citi.run.inputs", "tl.sft.workflow", "tl.ppo.workflow"):
        place, name = MOMENTS[moment]
        module, _, kind = place.format(room=room).partition(":")
        owner = importlib.import_module(module)
        owner = getattr(owner, kind) if kind else owner
        setattr(owner, name, _signalling(getattr(owner, name), number, after))
        if "{room}" not in place:
            return


def _signalling(inner: Any, number: int, after: int) -> Any:
    calls = [0]

    @functools.wraps(inner)
    def called(*args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == after:
            os.kill(os.getpid(), number)
        return inner(*args, **named)

    return called


def _code(error: SystemExit) -> int:
    if isinstance(error.code, str):
        print(error.code, file=sys.stderr)
        return 1
    return int(error.code or 0)


def _child(case: dict[str, Any], out: Path) -> None:
    with out.with_suffix(".txt").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    began = time.process_time()
    code = run_case(case)
    sys.stdout.flush()
    sys.stderr.flush()
    out.write_text(json.dumps({"code": code, "seconds": time.process_time() - began}), encoding="utf-8")
    os._exit(0)


def serve(cases: list[dict[str, Any]], folder: Path, workers: int) -> list[dict[str, Any]]:
    """Run all cases, `workers` at once."""
    import gc

    import llamafactory.launcher
    import llamafactory.train.tuner  # noqa: F401
    import torch

    import llamafactory_ext.citi.run.workflow
    import llamafactory_ext.tl.ppo.workflow
    import llamafactory_ext.tl.sft.workflow  # noqa: F401

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    folder.mkdir(parents=True, exist_ok=True)
    waiting, running = list(enumerate(cases)), {}
    results: dict[int, dict[str, Any]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            number, case = waiting.pop(0)
            child = os.fork()
            if child == 0:
                _child(case, folder / f"{number}.json")
            running[child] = number
        child, status = os.wait()
        number = running.pop(child)
        out = folder / f"{number}.json"
        found = json.loads(out.read_text("utf-8")) if out.is_file() else {"code": -1, "status": status}
        printed = out.with_suffix(".txt").read_text("utf-8", errors="replace")
        results[number] = {**cases[number], **found, "printed": printed}
    return [results[number] for number in range(len(cases))]


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    found = serve(json.loads(source.read_text("utf-8")), target.parent / "runs", int(sys.argv[3]))
    target.write_text(json.dumps(found), encoding="utf-8")
