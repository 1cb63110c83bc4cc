"""A fork server: imports what LLaMA-Factory and we stand on once, then tries a changed LLaMA-Factory in each child.

Reads one case per line from standard input, as JSON, and prints one line with what became of the commands. A case is
changed in memory: a finder hands Python other source text, or changes a module that has just executed, before our
hook sees it.
"""

import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import json
import linecache
import os
import re
import sys
import tempfile
import types
from collections.abc import Callable
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from llamafactory_ext import _hook

PACKAGE = "llamafactory"
MOVED = "_moved"
NEW = "wanted_by_upstream"
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
Transform = Callable[[str, str], str]
Change = Callable[[types.ModuleType], None]


class ChangedLoader(SourceFileLoader):
    """Runs a file of upstream's with other text, or changes the module afterwards."""

    def __init__(self, name: str, path: str, transform: Transform, change: Change | None) -> None:
        super().__init__(name, path)
        self.transform, self.change = transform, change

    def get_code(self, fullname: str) -> Any:
        text = Path(self.path).read_text("utf-8")
        is_package = Path(self.path).name == "__init__.py"
        changed = self.transform(f"{fullname}.__init__" if is_package else fullname, text)
        if changed == text:
            return super().get_code(fullname)
        linecache.cache[self.path] = (len(changed), None, changed.splitlines(keepends=True), self.path)
        return compile(changed, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: types.ModuleType) -> None:
        super().exec_module(module)
        if self.change is not None:
            self.change(module)


class ChangingFinder:
    """Finds upstream's modules, one of them under another name if it was moved."""

    def __init__(self, transform: Transform, changes: dict[str, Change], moved: str = "") -> None:
        self.transform, self.changes, self.moved = transform, changes, moved

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.partition(".")[0] != PACKAGE or (self.moved and fullname == self.moved):
            return None
        real = fullname.removesuffix(MOVED) if self.moved and fullname == self.moved + MOVED else fullname
        spec = PathFinder.find_spec(real, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        loader = ChangedLoader(fullname, spec.loader.path, self.transform, self.changes.get(real))
        return importlib.util.spec_from_file_location(
            fullname, spec.loader.path, loader=loader, submodule_search_locations=spec.submodule_search_locations
        )


class NoModule:
    """Says that a module is not there, before the finders that would find it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == self.name:
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


def unchanged(module: str, text: str) -> str:
    return text


def renamed(symbol: str, room: str = PACKAGE) -> Transform:
    """The symbol has another name in all files of a room; a method of another package's objects keeps its own."""
    pattern = re.compile(rf"(?<!\)\.)\b{symbol}\b")
    return lambda module, text: pattern.sub(symbol + MOVED, text) if module.startswith(room) else text


def asking(home: str, symbol: str) -> Transform:
    """The function asks for one more parameter, and all of upstream's calls give it."""

    class Asking(ast.NodeTransformer):
        def __init__(self, module: str) -> None:
            self.module = module

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            self.generic_visit(node)
            if node.name == symbol and self.module == home:
                node.args.kwonlyargs.append(ast.arg(NEW))
                node.args.kw_defaults.append(None)
            return node

        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            of_module = isinstance(node.func, ast.Name) or isinstance(getattr(node.func, "value", None), ast.Name)
            if name == symbol and of_module:
                node.keywords.append(ast.keyword(NEW, ast.Constant(None)))
            return node

    def transform(module: str, text: str) -> str:
        if not re.search(rf"\b{symbol}\(", text):
            return text
        return ast.unparse(ast.fix_missing_locations(Asking(module).visit(ast.parse(text))))

    return transform


def rewritten(home: str, symbol: str, snippet: str) -> Transform:
    """The code of a function or class does what it did, with other lines."""
    wanted = ast.dump(ast.parse(snippet, mode="eval").body)

    class Rewriting(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.expr) and ast.dump(node) == wanted:
                return ast.parse(f"(lambda value: value)({self.other(node)})", mode="eval").body
            return self.generic_visit(node)

        def other(self, node: ast.expr) -> str:
            if isinstance(node, ast.Constant):
                return f"{node.value[:3]!r} + {node.value[3:]!r}"
            if isinstance(node, ast.Compare):
                return f"{ast.unparse(node.comparators[0])} == {ast.unparse(node.left)}"
            assert isinstance(node, ast.Call)
            return f"{ast.unparse(node.func)}(*[{', '.join(map(ast.unparse, node.args))}])"

    def transform(module: str, text: str) -> str:
        if module != home:
            return text
        tree = ast.parse(text)
        for i, node in enumerate(tree.body):
            if getattr(node, "name", "") == symbol:
                tree.body[i] = Rewriting().visit(node)
        return ast.unparse(ast.fix_missing_locations(tree))

    return transform


def reworded(module: str, text: str) -> str:
    """All texts for readers are others, and so is the formatting."""

    class Rewording(ast.NodeTransformer):
        def visit_keyword(self, node: ast.keyword) -> ast.AST:
            if node.arg == "metadata" and isinstance(node.value, ast.Dict):
                for i, key in enumerate(node.value.keys):
                    if getattr(key, "value", "") == "help":
                        node.value.values[i] = ast.Constant("Another text.")
            return node

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            self.generic_visit(node)
            node.body.insert(0, ast.Expr(ast.Constant("Another text.")))
            return node

    return "# Another text.\n" + ast.unparse(ast.fix_missing_locations(Rewording().visit(ast.parse(text))))


def moved_text(module: str) -> Transform:
    """All imports of a module name its new place."""
    short = module.rpartition(".")[2]
    named = re.compile(rf"^(\s*from\s+)(\.*)([.\w]*\b{short})(\s+import\b)", re.MULTILINE)
    whole = re.compile(rf"^(\s*from\s+\.\s+import\s+){short}\b", re.MULTILINE)

    def transform(name: str, text: str) -> str:
        def renamed_import(found: re.Match[str]) -> str:
            start, dots, path, end = found.groups()
            base = name.rsplit(".", len(dots))[0] + "." if dots else ""
            return f"{start}{dots}{path}{MOVED}{end}" if base + path == module else found[0]

        text = named.sub(renamed_import, text)
        return whole.sub(rf"\1{short}{MOVED} as {short}", text) if name.rpartition(".")[0] in module else text

    return transform


def other_type(value: Any) -> Any:
    """A constant that cannot be added to."""
    if isinstance(value, list):
        return tuple(value)
    return frozenset(value) if isinstance(value, set) else types.MappingProxyType(value)


def by_plugin(original: Any, *, opaque: bool) -> Any:
    """What another package's plugin puts in the place of a function."""

    def plugin(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return plugin if opaque else functools.wraps(original)(plugin)


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
        transform = asking(module, symbol)
    elif kind == "fixed":
        change(other_type)
    elif kind == "rewritten":
        transform = rewritten(module, symbol, case["snippet"])
    elif kind == "reworded":
        transform = reworded
    elif kind == "moved":
        transform = moved_text(module)
        sys.meta_path.insert(0, NoModule(module))
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
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


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
