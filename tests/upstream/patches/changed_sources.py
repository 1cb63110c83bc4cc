"""LLaMA-Factory with other sources, in memory: a finder that hands Python other text or changes a module afterwards.

Each change leaves upstream working, with one exception: a symbol that is deleted from its module.
"""

import ast
import functools
import importlib.util
import linecache
import os
import re
import types
from collections.abc import Callable
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

PACKAGE = "llamafactory"
MOVED = "_moved"
NEW = "wanted_by_upstream"
Transform = Callable[[str, str], str]
Change = Callable[[types.ModuleType], None]


_find_file = PathFinder.find_spec


def hide_file(name: str) -> None:
    """Let nobody find a module's file, with or without importing it, by its whole name or its last part."""
    folder, _, last = name.replace(".", os.sep).rpartition(os.sep)

    def find(fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname == name or (fullname == last and any(str(place).endswith(folder) for place in path or ())):
            return None
        return _find_file(fullname, path, target)

    PathFinder.find_spec = find  # type: ignore[assignment, method-assign]


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
        spec = _find_file(real, path, target)
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
    pattern = re.compile(rf"(?<!\)\.)(?<!trainer\.)\b{symbol}\b")
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
