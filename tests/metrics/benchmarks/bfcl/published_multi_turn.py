"""Asks BFCL's own multi_turn checker, in a process of its own: `python published_multi_turn.py FOLDER JOB`.

FOLDER is berkeley-function-call-leaderboard in a checkout. JOB is a JSON file with a list of {"record", "gold",
"result", "calls": whether a function-calling model's decoder reads the result}. Prints one JSON verdict per item: the
published kind of error, "" if it is right, "stopped" where the checker stops with an exception. Packages that checking
needs not are stood in for, as model handlers and parsers are.
"""

import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

STOOD_IN = ("dotenv", "filelock", "numpy", "overrides", "pandas", "requests", "tenacity", "tqdm")


class Anything:
    """Stands for whatever a package holds: can be called, used as a decorator, and derived from."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *given: Any, **_: Any) -> Any:
        return given[0] if given else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, *_: Any) -> Any:
        stood = name.split(".")[0] in STOOD_IN or ".parser" in name or name.endswith(".model_config")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if stood else None

    def create_module(self, spec: Any) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__.endswith(".model_config"):
            module.MODEL_CONFIG_MAPPING = {}  # type: ignore[attr-defined]


def decoder(decode: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda result, **_: decode(result)


def main(folder: str, job: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        os.environ["BFCL_PROJECT_ROOT"] = root
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True
        sys.meta_path.insert(0, Finder())
        runner: Any = importlib.import_module("bfcl_eval.eval_checker.eval_runner")
        decoders: Any = importlib.import_module("bfcl_eval.model_handler.utils")
        found = []
        for number, item in enumerate(json.loads(Path(job).read_text(encoding="utf-8"))):
            decode = "convert_to_function_call" if item["calls"] else "default_decode_execute_prompting"
            handler = SimpleNamespace(decode_execute=decoder(getattr(decoders, decode)))
            record, name = item["record"], f"model{number}"
            asked = (handler, record["id"], item["result"], item["gold"])
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    entry = runner._evaluate_single_multi_turn_entry(*asked, record, name, record["id"])
                found.append("" if entry["valid"] else entry["error"]["error_type"].removeprefix("multi_turn:"))
            except Exception as error:
                print(f"{record['id']}: {error!r}", file=sys.stderr)
                found.append("stopped")
        print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
