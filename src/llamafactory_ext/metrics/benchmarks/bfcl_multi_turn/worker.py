"""Run in the sandbox: executes trajectories on the API classes of a checkout of BFCL; standard library only.

`main` compares trajectories with gold ones, `step` executes calls for an agent. Calls are walked as syntax trees: they
reach the public methods of the API classes with literal arguments, and nothing else of the process. The published code
evaluates them as Python, where built-in functions are callable too; here these are errors.
"""

import ast
import copy
import faulthandler
import importlib
import inspect
import json
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CALLED = re.compile(r"\b([a-zA-Z_]\w*)\s*(?=\()")
_DENIED = ("kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run")
_SIGNS: Mapping[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_SHOWN = 200  # characters of a response in an error


class Side:
    """The API instances of a trajectory: the model's, or the gold calls'.

    Args:
        classes: (class, module) of those that the task involves.
        config: their initial states.
        long_context: whether these are filled up, as the category long_context has it.
        label: begins the names of the instances, which the published code writes into the texts of calls: before each
            function, also where a text among the arguments names one. "" leaves texts as they are.
    """

    def __init__(self, classes: Sequence[Sequence[str]], config: Mapping[str, Any], long_context: bool, label: str):
        self._renames = bool(label)
        self.instances: dict[str, Any] = {}
        self._labels: dict[str, Any] = {}
        self._owners: dict[str, str] = {}
        for name, module in classes:
            made = getattr(importlib.import_module(module), name)()
            if hasattr(made, "_load_scenario"):
                made._load_scenario(copy.deepcopy(config.get(name, {})), long_context=long_context)
            self.instances[name] = made
            own = re.sub(r"[-./:]", "_", f"{label}_{name}_instance")
            self._labels[own] = made
            public = (method for method, _ in inspect.getmembers(made, inspect.ismethod) if method[:1] != "_")
            self._owners.update(dict.fromkeys(public, own))

    def run(self, call: Any) -> str:
        """Return the response to a call, or what went wrong, in the published words.

        Args:
            call: its text as the published decoders write it, or {"name", "arguments", "positional"}.
        """
        try:
            result = self._as_text(call) if isinstance(call, str) else self._as_stated(call)
        except Exception as error:
            return f"Error during execution: {error}"
        if isinstance(result, dict):
            try:
                return json.dumps(result)
            except Exception:
                return str(result)
        return str(result)

    def _as_stated(self, call: Mapping[str, Any]) -> Any:
        """Call what a class and a method, or a method alone, names."""
        own, _, method = call["name"].rpartition(".")
        if method not in self._owners or (own and own not in self.instances):
            raise NameError(f"name '{call['name']}' is not defined")
        holder = self.instances[own] if own else self._labels[self._owners[method]]
        return getattr(holder, method)(*call["positional"], **call["arguments"])

    def _as_text(self, text: str) -> Any:
        """Evaluate a call."""
        owners = self._owners
        if self._renames:
            text = _CALLED.sub(
                lambda found: f"{owners[found[1]]}.{found[1]}" if found[1] in owners else found[1], text
            )
        head = text.partition("(")[0]
        head = head.split(".")[1] if "." in head else head
        if head in _DENIED:
            raise ValueError(f"Function call {head} is not allowed.")
        return self._value(ast.parse(text.lstrip(" \t"), mode="eval").body)

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(self._value(item) for item in node.elts)
        if isinstance(node, ast.Dict) and None not in node.keys:
            pairs = zip(node.keys, node.values, strict=True)
            return {self._value(key): self._value(value) for key, value in pairs if key is not None}
        if isinstance(node, ast.UnaryOp):
            return _SIGNS[type(node.op)](self._value(node.operand))
        if isinstance(node, ast.Call):
            given = [self._value(item) for item in node.args]
            return self._method(node.func)(*given, **{str(one.arg): self._value(one.value) for one in node.keywords})
        if isinstance(node, ast.Name):
            raise NameError(f"name '{node.id}' is not defined")
        raise ValueError(f"{type(node).__name__} is not evaluated here")

    def _method(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            own = node.value.id
            if own in self._labels and self._owners.get(node.attr) == own:
                return getattr(self._labels[own], node.attr)
        if isinstance(node, ast.Name) and node.id in self._owners and not self._renames:
            return getattr(self._labels[self._owners[node.id]], node.id)
        raise NameError(f"name '{ast.unparse(node)}' is not defined")


def compared(task: Mapping[str, Any]) -> tuple[str, str]:
    """Return (published kind of error, detail) of a trajectory; ("", "") if it is right.

    Args:
        task: classes, config and long_context; turns of steps of calls, and gold calls by turn. `strict` compares the
            states behind every turn, also where nothing is to be called, and takes a turn without a call.
    """
    model, gold = (
        Side(task["classes"], task["config"], task["long_context"], "" if task["strict"] else f"{who}_{task['id']}")
        for who in ("model", "model_ground_truth")
    )
    told: list[str] = []
    for number, (steps, wanted) in enumerate(zip(task["turns"], task["gold"], strict=True)):
        told += [model.run(call) for step in steps for call in step]
        expected = [gold.run(call) for call in wanted]
        if not task["strict"] and not wanted:
            continue
        if not task["strict"] and not steps:
            return "empty_turn_model_response", f"turn {number} has no call"
        for name, instance in gold.instances.items():
            if unlike := _differing(model.instances[name], instance):
                return "instance_state_mismatch", f"turn {number}: {name}.{', '.join(unlike)}"
        left = list(told)
        for response in expected:
            if response not in left:
                return "execution_response_mismatch", f"turn {number}: nothing returned {response[:_SHOWN]}"
            left.remove(response)
    return "", ""


def _differing(one: Any, other: Any) -> list[str]:
    """Return the public attributes in which two instances differ."""
    return [name for name in vars(other) if name[:1] != "_" and getattr(one, name) != getattr(other, name)]


def main() -> None:
    """Compare all trajectories of the job."""
    job = json.load(sys.stdin)
    prepare(job)
    for task in job["tasks"]:
        _tell(job["mark"], "begun", task["id"])
        # Ends the process from a thread that needs no lock of the interpreter, whatever the call does.
        faulthandler.dump_traceback_later(job["seconds"], exit=True, file=sys.stdout)
        try:
            ended = compared(task)
        except Exception as error:  # the published checker stops here
            ended = "checker_stopped", f"{type(error).__name__}: {error}"[:_SHOWN]
        faulthandler.cancel_dump_traceback_later()
        _tell(job["mark"], "ended", [task["id"], ended])


def prepare(job: Mapping[str, Any]) -> None:
    """Load the API classes, which is no trajectory's time."""
    sys.path[:0] = job["paths"]
    sys.dont_write_bytecode = True
    for module in job["modules"]:
        importlib.import_module(module)


def _tell(mark: str, what: str, value: Any) -> None:
    print(f"\n{mark}{json.dumps([what, value])}", flush=True)


_AGENTS: dict[str, Side] = {}


def step(job: Mapping[str, Any], calls: Sequence[Any]) -> list[str]:
    """Execute calls of an agent; the first time makes its world.

    Args:
        job: paths and modules, with the task's classes, config and long_context.
        calls: as `Side.run` takes them.
    """
    if not _AGENTS:
        prepare(job)
        _AGENTS["model"] = Side(job["classes"], job["config"], job["long_context"], "")
    return [_AGENTS["model"].run(call) for call in calls]
