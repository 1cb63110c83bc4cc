"""A fork server: imports what LLaMA-Factory and we stand on once, then tries a changed LLaMA-Factory in each child.

Reads one case per line from standard input, as JSON, and prints one line with what became of the commands. A case is
changed in memory: a finder hands Python other source text, or changes a module that has just executed, before our
hook sees it.
"""

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

from changed_sources import (
    MOVED,
    NEW,
    PACKAGE,
    Change,
    ChangingFinder,
    NoModule,
    Transform,
    asking,
    by_plugin,
    hide_file,
    moved_text,
    other_type,
    renamed,
    reworded,
    rewritten,
    unchanged,
)

from llamafactory_ext import _hook

OURS = ("StartFinder", "PatchingFinder")  # what waits for LLaMA-Factory, and the import hook
# Imported in the parent, as far as they are installed.
PRELOADED = (
    "torch",
    "transformers",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.trainer_seq2seq",
    "transformers.integrations",
    "accelerate",
    "datasets",
    "peft",
    "trl",
    "trl.experimental",
    "gradio",
    "omegaconf",
    "pandas",
    "fastapi",
    "uvicorn",
    "sse_starlette",
    "PIL.Image",
    "av",
    "librosa",
    "ray",
    "matplotlib.pyplot",
    "llamafactory_ext",
    "llamafactory_ext.upstream.patches.table",
    "llamafactory_ext.citi.run",
    "llamafactory_ext.board.components",
    "llamafactory_ext.board.progress",
    "llamafactory.train.tuner",
    "llamafactory.webui.interface",
)
HOMES: dict[str, str] = {}  # where functions are defined that other modules import and we replace there


def set_up(case: dict[str, Any]) -> None:
    """Change what this process will import."""
    module, symbol, kind = case["module"], case["symbol"], case["kind"]
    transform: Transform = unchanged
    changes: dict[str, Change] = {}

    def change(make: Callable[[Any], Any]) -> None:
        changes[module] = lambda loaded: setattr(loaded, symbol, make(getattr(loaded, symbol)))

    if kind == "renamed":
        room = ".".join(module.split(".")[:2]) if case["word"] else PACKAGE
        transform = renamed(case["word"] or symbol, room)
    elif kind == "deleted":
        changes[module] = lambda loaded: delattr(loaded, symbol)
    elif kind == "asks":
        transform = asking(HOMES.get(f"{module}.{symbol}", module), symbol)
    elif kind == "fixed":
        change(other_type)
    elif kind == "rewritten":
        transform = rewritten(module, symbol, case["snippet"])
    elif kind == "reworded":
        transform = reworded
    elif kind == "moved":
        transform = moved_text(module)
        sys.meta_path.insert(0, NoModule(module))
        hide_file(module)
    elif kind in ("wrapped", "replaced"):
        change(functools.partial(by_plugin, opaque=kind == "replaced"))
    elif kind == "raises":
        from llamafactory_ext.upstream.patches import table

        row = next(row for row in table.PATCHES if row.name == f"{module}.{symbol}")
        object.__setattr__(row, "wrap", _raising)
    place = next(i for i, finder in enumerate(sys.meta_path) if finder is PathFinder)
    sys.meta_path.insert(place, ChangingFinder(transform, changes, module if kind == "moved" else ""))
    if not case["ours"]:
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ not in OURS]


def _raising(original: Any) -> Any:
    raise RuntimeError("a fault of ours")


def upstreams(module: str, name: str) -> Any:
    """A function of upstream's, wherever the case has put it."""
    for place in (module, module + MOVED):
        with contextlib.suppress(ModuleNotFoundError):
            loaded = importlib.import_module(place)
            found = getattr(loaded, name, None) or getattr(loaded, name + MOVED, None)
            if found is not None:
                return found
    raise ImportError(f"there is no {name} in {module}")


def command(*words: str) -> None:
    """`llamafactory-cli` with these words."""
    sys.argv = ["llamafactory-cli", *words]
    importlib.import_module("llamafactory.cli").main()


def parse(words: dict[str, Any]) -> str:
    """Plain training is parsed; the values of upstream's own options."""
    groups = upstreams("llamafactory.hparams.parser", "get_train_args")(dict(words), **_new(words))
    training = groups[2]
    return json.dumps([groups[3].stage, groups[3].finetuning_type, training.learning_rate, groups[1].cutoff_len])


def _new(_: Any) -> dict[str, Any]:
    """The parameter that the case has added, where it is asked for."""
    import inspect

    function = inspect.unwrap(upstreams("llamafactory.hparams.parser", "get_train_args"))
    return {NEW: None} if NEW in inspect.signature(function).parameters else {}


def page() -> str:
    """LLaMA Board is built, without a browser."""
    return type(upstreams("llamafactory.webui.interface", "create_ui")()).__name__


def attempt(function: Callable[[], Any]) -> dict[str, Any]:
    """What became of a command: its result or its error, and what its user would read of it."""
    printed, errors = io.StringIO(), io.StringIO()
    outcome: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            outcome["result"] = function()
        except SystemExit as end:
            outcome["exit"] = str(end.code)
        except BaseException as error:
            outcome["error"] = f"{type(error).__name__}: {error}"
            sys.excepthook(type(error), error, error.__traceback__)
    return outcome | {"printed": printed.getvalue()[-3000:], "stderr": errors.getvalue()[-3000:]}


def stub_workflows() -> None:
    """Our workflows say that they were reached; all that they import of upstream is imported."""
    for name, function in (
        ("llamafactory_ext.citi.run.workflow", "run_citi"),
        ("llamafactory_ext.tl.sft.workflow", "run_tl_sft"),
        ("llamafactory_ext.tl.ppo.workflow", "run_tl_ppo"),
    ):
        stub = types.ModuleType(name)
        setattr(stub, function, lambda *args: print("reached"))
        sys.modules[name] = stub


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """All commands of a case, one after the other, in this process."""
    set_up(case)
    stub_workflows()
    files = case["files"]
    outcomes = {
        "version": attempt(lambda: command("version")),
        "parse": attempt(lambda: parse(files["plain"])),
        "train": attempt(lambda: command("train", files["train"])),
        "export": attempt(lambda: command("export", files["export"])),
        "webui": attempt(page),
    }
    if case["ours"]:
        for name in ("citi", "tl_sft", "tl_ppo"):
            outcomes[name] = attempt(functools.partial(command, "train", files[name]))
    return outcomes


def preload() -> None:
    """Import all that stays the same, and upstream's modules once for what they import; those are forgotten again."""
    _hook.install()
    kept = [finder for finder in sys.meta_path if type(finder).__name__ != "StartFinder"]
    sys.meta_path[:] = [finder for finder in kept if type(finder).__name__ not in OURS]
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.meta_path[:] = kept
    from llamafactory_ext.upstream.patches import table

    for row in table.PATCHES:
        if row.symbol and row.module in sys.modules:
            found = getattr(sys.modules[row.module], row.symbol, None)
            HOMES[row.name] = getattr(found, "__module__", row.module)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # a child that collects garbage would copy all of its parent's pages


def main() -> None:
    """Serve."""
    preload()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        case = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                devnull = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(devnull, descriptor)
                try:
                    outcomes = run_case(case)
                except BaseException as error:
                    outcomes = {"failed": repr(error)}
                with os.fdopen(writing, "w") as pipe:
                    json.dump(outcomes, pipe)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        print(json.dumps({"case": case["id"], "outcomes": json.loads(text or "{}")}), file=answers, flush=True)


if __name__ == "__main__":
    main()
