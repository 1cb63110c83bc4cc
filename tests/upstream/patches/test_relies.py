"""What a row relies on is looked at in the code that is loaded, and nothing else counts."""

import ast
import importlib
import inspect
import linecache
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llamafactory_ext
from llamafactory_ext.upstream.patches import patch, seen, table
from llamafactory_ext.upstream.patches.features import Feature
from llamafactory_ext.upstream.patches.relies import (
    Code,
    EndsWith,
    Fields,
    Has,
    Holds,
    Inherits,
    Sets,
    Statement,
    Takes,
    fingerprint,
)

pytestmark = pytest.mark.fast

BASE = """
from dataclasses import dataclass, field

class Parent:
    pass

def convert(name, data_args, *, mode="fast"):
    '''Convert.'''
    return read(name, data_args.folder)

@dataclass
class Options(Parent):
    '''Options.'''
    stage: str = field(default="sft", metadata={"help": "The stage."})

    def check(self, given):
        self.checked = given
        return given
"""


def made(source: str, name: str) -> Any:
    """An object of a module with this source, which `inspect` can read."""
    file = f"/made/{abs(hash(source))}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = ModuleType("made")
    module.__file__ = file
    exec(compile(source, file, "exec"), module.__dict__)
    return getattr(module, name)


HARMLESS = [
    ("'''Convert.'''", "'''Convert a data set.'''"),
    ("return read(name, data_args.folder)", "return read(\n        name,  # of the set\n        data_args.folder)"),
    ('"The stage."', '"Which stage."'),
    ("    '''Options.'''\n", ""),
]
CONVERT = [Takes("name", "data_args"), Code("read(name, data_args.folder)"), EndsWith("mode")]
OPTIONS: list[Statement] = [
    Fields(stage="sft"),
    Has("check", Takes("self", "given"), Code("return given")),
    Inherits("Parent"),
]


@pytest.mark.parametrize(("old", "new"), HARMLESS)
def test_texts_and_formatting_never_count(old: str, new: str) -> None:
    source = BASE.replace(old, new)
    assert source != BASE
    for statement in CONVERT:
        assert statement.problem(made(source, "convert")) == ""
    assert fingerprint(made(source, "convert")) == fingerprint(made(BASE, "convert"))
    assert fingerprint_of_class(source) == fingerprint_of_class(BASE)


def fingerprint_of_class(source: str) -> str:
    tree = ast.parse(source)
    part = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Options")
    return fingerprint(made(f"def whole():\n    '''Read.'''\n{indented(ast.unparse(part))}", "whole"))


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()) + "\n"


@pytest.mark.parametrize(
    ("old", "new", "statement", "problem"),
    [
        ("(name, data_args", "(title, data_args", Takes("name", "data_args"), "has no parameter name"),
        ("(name, data_args", "(data_args, name", Takes("name", "data_args"), "takes its parameters in another order"),
        ('mode="fast"', "mode", Takes("name", "data_args"), "asks for a parameter mode"),
        ("data_args.folder", "data_args.directory", Code("read(name, data_args.folder)"), "no longer has `read(name"),
        ("def convert(name, data_args", "def convert(data_args, name", EndsWith("mode"), ""),
        ('mode="fast"', 'mode="fast", other=1', EndsWith("mode"), "no longer takes mode last"),
        ('mode="fast"', 'mode="fast", other=1', Takes("name", "data_args"), ""),
    ],
)
def test_what_a_function_is_asked(old: str, new: str, statement: Statement, problem: str) -> None:
    source = BASE.replace(old, new)
    assert source != BASE
    assert statement.problem(made(source, "convert")).startswith(problem)
    assert bool(problem) == bool(statement.problem(made(source, "convert")))


@dataclass
class Example:
    stage: str = "sft"

    def check(self, given: Any) -> None:
        self.checked = given


@pytest.mark.parametrize(
    ("statement", "thing", "problem"),
    [
        (Fields(stage="sft"), Example, ""),
        (Fields(stage=...), Example, ""),
        (Fields(stage="pt"), Example, "has the default 'sft' for stage, not 'pt'"),
        (Fields(kind=...), Example, "has no field kind"),
        (Fields(stage=...), str, "is no dataclass"),
        (Has("check", Takes("self", "given")), Example, ""),
        (Has("check", Takes("self", "data")), Example, "has a check that has no parameter data"),
        (Has("judge"), Example, "has no judge"),
        (Inherits("Example"), Example, ""),
        (Inherits("Parent"), Example, "does not inherit from Parent"),
        (Sets("checked"), Example, ""),
        (Sets("judged"), Example, "no longer sets judged"),
        (Holds("sft"), {"SFT": "sft"}, ""),
        (Holds("lora"), ["full"], "no longer holds 'lora'"),
        (Holds(), ("full",), "is a tuple, not a list, set or dict"),
        (Takes("x"), 3, "cannot be called"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # no address: workers compare ids
)
def test_what_a_class_or_constant_is_asked(statement: Statement, thing: Any, problem: str) -> None:
    assert statement.problem(thing) == problem


def test_every_row_holds_of_the_upstream_that_is_installed() -> None:
    for part in (*table.PATCHES, *table.USES):
        importlib.import_module(part.module)
    assert {part.name: part.problem() for part in (*table.PATCHES, *table.USES) if part.problem()} == {}
    assert {row.name for row in table.PATCHES} == patch.originals.keys()


def test_the_fingerprints_of_this_version_are_known() -> None:
    for row in table.PATCHES:
        importlib.import_module(row.module)
    found = seen.loaded_fingerprints()
    in_place = {name for name, original in patch.originals.items() if isinstance(original, (dict, list, set))}
    assert "llamafactory.webui.locales.LOCALES" in in_place
    assert len(found) == len(table.PATCHES) - len(in_place)
    assert seen.unseen(found) == []
    assert seen.unseen(found | {"llamafactory.launcher.launch": "0"}) == ["llamafactory.launcher.launch"]


def test_files_of_two_versions_are_noticed() -> None:
    old, new = seen.seen()["0.9.5"], seen.seen()["0.9.6.dev0"]
    assert (seen.mixed(old, "0.9.5"), seen.mixed(new, "0.9.6.dev0"), seen.mixed(new, "0.9.9")) == ("", "", "")
    half = old | {name: new[name] for name in new if ".parser." in name}
    for found, version, other in (
        (new, "0.9.5", "0.9.6.dev0"),
        (half, "0.9.5", "0.9.6.dev0"),
        (half, "0.9.6.dev0", "0.9.5"),
    ):
        said = seen.mixed(found, version)
        assert said.startswith(f"states version {version}, but has the code of {other} ")
        assert " in llamafactory." in said


def imports_of_upstream() -> set[tuple[str, str]]:
    """Module and name of everything that our files import from upstream."""
    found = set()
    for file in Path(llamafactory_ext.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "llamafactory":
                found |= {(str(node.module), name.name) for name in node.names}
    return found


def test_everything_that_we_import_from_upstream_stands_in_the_table() -> None:
    found = imports_of_upstream()
    assert len(found) > 30
    stated = {(part.module, part.symbol) for part in (*table.PATCHES, *table.USES)}
    homes = {
        (module, name): inspect.getmodule(getattr(importlib.import_module(module), name)) for module, name in found
    }
    for (module, name), home in homes.items():
        assert (module, name) in stated or (home is not None and (home.__name__, name) in stated), (module, name)


def test_every_feature_needs_something() -> None:
    assert {feature for part in table.PATCHES for feature in part.needed_by} == set(Feature)
