"""What docs/rl.md shows is so: its example acts, and its options are those there are."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from llamafactory_ext.tl.environments import Action
from llamafactory_ext.tl.environments.asking import KINDS, begin, run_all, step_of
from llamafactory_ext.tl.ppo.options import TlPpoArguments
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast

PAGE = (Path(__file__).parents[3] / "docs" / "rl.md").read_text("utf-8")
RECORD = {"id": "a", "thing": "tea"}


def test_the_example_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    shop = importlib.import_module("shop").shop
    monkeypatch.delitem(sys.modules, "shop")
    (world, unknown) = run_all([lambda: begin(shop, RECORD), lambda: begin(shop, {"thing": "x"})], 5)
    assert unknown.kind == "unknown"
    call = ToolCall("price", {"thing": "tea"})
    assert step_of(world.step(Action("...", (call,)))).observation == "4"
    end = step_of(world.step(Action("It costs 4.", end="answer")))
    assert (end.reward, end.done, dict(end.checks)) == (1.0, True, {"price": 1.0, "asked": 1.0})


def test_the_table_of_options_has_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `(tl_\w+)` \| `?(.*?)`? \|", PAGE, re.MULTILINE))
    defaults = {field.name: field.default for field in fields(TlPpoArguments)}
    assert {name for name in defaults if "environment" in name or "observation" in name} <= rows.keys()
    for name, shown in rows.items():
        value = defaults[name]
        words = {None: "none", True: "true", False: "false"}
        written = words[value] if value is None or isinstance(value, bool) else f"{value:g}"
        assert shown == written, name


def test_every_kind_of_fault_is_named() -> None:
    table = PAGE.partition("## When an environment fails")[2].partition("Such an episode")[0]
    assert {kind for kind in KINDS if f"| `{kind}` |" in table} == set(KINDS)
