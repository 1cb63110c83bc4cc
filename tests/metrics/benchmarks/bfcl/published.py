"""Asks BFCL's own evaluator, in a process of its own: `python published.py CHECKOUT JOB`.

JOB is a JSON file: {"commit", "kind": "ast" | "detection" | "executable", "items": [{"record", "answer", "group",
"text"}]}. The evaluator's files come out of the checkout's history, at the commit. Prints one JSON verdict per item:
true, false, or for executable items {"decoded", "first", "all"}. Where the evaluator stops, the verdict is false.

Stood in for: packages and model handlers that checking needs not, the parsers of Java and JavaScript, and the
functions of the executable split. These hand back their arguments, so the calls' arguments are what is compared:
sequences as lists, numbers by value, truth values no numbers.
"""

import ast
import importlib.abc
import importlib.machinery
import json
import operator
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
LEADERBOARD = "berkeley-function-call-leaderboard"
FILES = {
    "bfcl": (
        "constant.py",
        "utils.py",
        "eval_checker/constant.py",
        "eval_checker/ast_eval/ast_checker.py",
        "eval_checker/ast_eval/type_convertor/java_type_converter.py",
        "eval_checker/ast_eval/type_convertor/js_type_converter.py",
        "eval_checker/executable_eval/custom_exception.py",
        "eval_checker/executable_eval/executable_checker.py",
        "model_handler/constant.py",
        "model_handler/model_style.py",
        "model_handler/utils.py",
    ),
    "bfcl_eval": (
        "constants/category_mapping.py",
        "constants/default_prompts.py",
        "constants/enums.py",
        "constants/eval_config.py",
        "constants/executable_backend_config.py",
        "constants/type_mappings.py",
        "utils.py",
        "eval_checker/ast_eval/ast_checker.py",
        "eval_checker/ast_eval/type_convertor/java_type_converter.py",
        "eval_checker/ast_eval/type_convertor/js_type_converter.py",
        "model_handler/utils.py",
    ),
}
STOOD_IN = ("tenacity", "filelock", "requests", "dotenv", "tqdm")
FUNCTIONS = "bfcl.eval_checker.executable_eval.data.executable_python_function"
PROMPTED = "a_prompted_model"


def shown(checkout: Path, commit: str, path: str) -> str:
    words = ["git", "-C", str(checkout), "show", f"{commit}:{LEADERBOARD}/{path}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


class StandIn(ModuleType):
    """A module of which every name is a decorator that changes nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: lambda function: function


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, *_: Any) -> Any:
        stands_in = name.split(".")[0] in STOOD_IN or ".parser" in name or name.endswith(".model_config")
        return importlib.machinery.ModuleSpec(name, self) if stands_in else None

    def create_module(self, spec: Any) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__.endswith(".model_config"):
            module.MODEL_CONFIG_MAPPING = {PROMPTED.replace("_", "/"): SimpleNamespace(underscore_to_dot=False)}
        module.__path__ = []  # type: ignore[attr-defined]


def load(checkout: Path, commit: str, folder: Path) -> str:
    """Write the evaluator's files of a commit into a folder; return the package's name."""
    words = ["git", "-C", str(checkout), "ls-tree", "--name-only", commit, f"{LEADERBOARD}/"]
    names = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    package = "bfcl_eval" if f"{LEADERBOARD}/bfcl_eval" in names else "bfcl"
    for file in FILES[package]:
        target = folder / package / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(shown(checkout, commit, f"{package}/{file}"), encoding="utf-8")
    os.environ["BFCL_PROJECT_ROOT"] = str(folder)
    sys.path.insert(0, str(folder))
    sys.meta_path.insert(0, Finder())
    return package


def imported(package: str, *names: str) -> list[ModuleType]:
    return [importlib.import_module(f"{package}.{name}") for name in names]


def ast_verdict(package: str) -> Callable[[Mapping[str, Any]], bool]:
    decoder, helper, checker = imported(package, "model_handler.utils", "utils", "eval_checker.ast_eval.ast_checker")
    language: Any = "Python"
    decode = decoder.default_decode_ast_prompting
    if package == "bfcl_eval":
        (enums,) = imported(package, "constants.enums")
        language = enums.Language.PYTHON

    def verdict(item: Mapping[str, Any]) -> bool:
        decoded = decode(item["text"])
        if not helper.is_function_calling_format_output(decoded):
            return False
        functions, group = item["record"]["function"], item["group"]
        return bool(checker.ast_checker(functions, decoded, item["answer"], language, group, PROMPTED)["valid"])

    return verdict


def detection_verdict(package: str) -> Callable[[Mapping[str, Any]], bool]:
    decoder, helper = imported(package, "model_handler.utils", "utils")

    def verdict(item: Mapping[str, Any]) -> bool:
        try:
            called = not helper.is_empty_output(decoder.default_decode_ast_prompting(item["text"]))
        except Exception:
            called = False
        return called is ("irrelevance" not in item["group"])

    return verdict


def same(value: Any) -> Any:
    if isinstance(value, bool):
        return f"<{value}>"
    if isinstance(value, list | tuple):
        return [same(item) for item in value]
    return {key: same(item) for key, item in value.items()} if isinstance(value, dict) else value


def recorders(functions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def recorder(name: str, order: list[str]) -> Any:
        def record(*positional: Any, **named: Any) -> Any:
            if len(positional) > len(order) or set(order[: len(positional)]) & named.keys():
                raise TypeError(name)
            return {"called": name, "with": same(dict(zip(order, positional, strict=False)) | named)}

        return record

    return {one["name"]: recorder(one["name"], list(one["parameters"]["properties"])) for one in functions}


def constant(node: ast.expr) -> Any:
    """The value of a literal, whose numbers may be sums, products and quotients: p=1/6."""
    if isinstance(node, ast.List | ast.Tuple):
        return [constant(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [constant(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(constant, node.values), strict=True))
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return ARITHMETIC[type(node.op)](constant(node.left), constant(node.right))
    return ast.literal_eval(node)


def called(gold: str, named: Mapping[str, Any]) -> Any:
    """What the recorder of a published call returns."""
    node = ast.parse(gold.strip(), mode="eval").body
    assert isinstance(node, ast.Call)
    given = {str(keyword.arg): constant(keyword.value) for keyword in node.keywords}
    return named[ast.unparse(node.func)](*map(constant, node.args), **given)


def executable_verdict(package: str) -> Callable[[Mapping[str, Any]], dict[str, bool]]:
    decoder, helper = imported(package, "model_handler.utils", "utils")
    (checker,) = imported(package, "eval_checker.executable_eval.executable_checker")

    def verdict(item: Mapping[str, Any]) -> dict[str, bool]:
        named = recorders(item["record"]["function"])
        functions = ModuleType(FUNCTIONS)
        functions.__dict__.update(named)
        sys.modules[FUNCTIONS] = functions
        expected = [called(gold, named) for gold in item["answer"]]
        kinds = ["exact_match"] * len(expected)
        try:
            calls = decoder.default_decode_execute_prompting(item["text"])
        except Exception:
            return dict.fromkeys(("decoded", "first", "all"), False)
        if not helper.is_executable_format_output(calls):
            return dict.fromkeys(("decoded", "first", "all"), False)
        first = any(checker.executable_checker_simple(calls[0], one, "exact_match")["valid"] for one in expected)
        described = {"execution_result": expected, "execution_result_type": kinds}
        every = checker.executable_checker_non_rest(calls, described, item["group"])["valid"]
        return {"decoded": True, "first": first, "all": bool(every)}

    return verdict


def main(checkout: str, job: str) -> None:
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        package = load(Path(checkout), asked["commit"], Path(folder))
        for name in (f"{package}.eval_checker.executable_eval.data",):
            sys.modules[name] = StandIn(name)
            sys.modules[name].__path__ = []  # type: ignore[attr-defined]
        kinds: dict[str, Any] = {"ast": ast_verdict, "detection": detection_verdict, "executable": executable_verdict}
        verdict = kinds[asked["kind"]](package)
        found = []
        for item in asked["items"]:
            try:
                found.append(verdict(item))
            except Exception as error:
                print(f"{item['record']['id']}: {error!r}", file=sys.stderr)
                found.append(False)
        print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
