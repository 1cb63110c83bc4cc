"""What a model card says about where a checkpoint comes from."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llamafactory_ext.citi import export
from llamafactory_ext.citi.card import block, names_of, provenance, provenance_of
from llamafactory_ext.citi.run import outputs
from llamafactory_ext.errors import CheckpointError

PHASES = [
    {"name": "rp", "title": "Router Pre-training", "epochs": 1.0, "lr": 2e-4},
    {"name": "mi", "title": "MOLoRA Improvement", "epochs": 2.0, "lr": 2e-4},
    {"name": "uco", "title": "Unimportant Components Optimization", "epochs": 1.0, "lr": 2e-5},
]
PLAN = {
    "dataset": ["api_bank", "metamath"],
    "citi_adapter": "molora",
    "citi_num_experts": 4,
    "citi_rank": 8,
    "citi_alpha": 2.0,
    "citi_router_neutral": True,
}
SELECTION = {"adapted": ["a.q", "a.v"], "tuned": ["b.up"], "displaced": [], "total": 14, "end": "top"}


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "plan": PLAN,
        "base": {"name": "org/base", "revision": "main", "commit": "c0ffee", "linears": {}},
        "data": "12ab",
        "phases": PHASES,
        "versions": {"torch": "2.11.0", "peft": "0.18.1"},
        **changes,
    }


def test_everything_is_told() -> None:
    text = provenance(manifest(phase="uco"), SELECTION)
    for row in (
        "| Base | `org/base`, revision main, commit `c0ffee` |",
        "| Phases | rp (Router Pre-training): 1 epoch at 0.0002; mi (MOLoRA Improvement): 2 epochs at 0.0002; uco "
        "(Unimportant Components Optimization): 1 epoch at 2e-05 |",
        "| Selection | MOLoRA (4 experts of rank 8, alpha 2) on 2 of 14 linear components, most important for tool "
        "use; full tuning of 1, least important for general abilities |",
        "| Data | api_bank, metamath; BLAKE2b of the tokenised examples `12ab` |",
        "| Versions | torch 2.11.0, peft 0.18.1 |",
    ):
        assert row in text.splitlines()
    assert "<summary>2 components adapted</summary>\n\n- `a.q`\n- `a.v`\n\n</details>" in text
    assert "<summary>1 components tuned in full in phase uco</summary>\n\n- `b.up`\n" in text
    settings = text.partition("```json\n")[2].partition("\n```")[0]
    assert json.loads(settings) == PLAN


def test_a_phase_in_the_middle_names_no_later_one() -> None:
    text = provenance(manifest(phase="mi"), SELECTION)
    assert "MOLoRA Improvement" in text
    assert "Unimportant" not in text


@pytest.mark.parametrize(
    ("plan", "selection", "told"),
    [
        ({"citi_adapter": "lora"}, {}, "LoRA (rank 8, alpha 2) on 2 of 14"),
        ({"citi_adapter": "full"}, {"tuned": [], "end": "bottom"}, "full tuning on 2 of 14 linear components, least"),
        (
            {},
            {"end": "random", "displaced": ["a.q"]},
            "drawn at random; full tuning of 1, least important for general",
        ),
        ({}, {"displaced": ["a.q"]}, "(1 chosen by both stay with the first)"),
        ({"citi_router_neutral": False}, {}, "alpha 2, no neutral gate) on 2"),
    ],
    ids=["lora", "full", "random", "displaced", "no neutral gate"],
)
def test_ablations_are_told(plan: dict[str, Any], selection: dict[str, Any], told: str) -> None:
    text = provenance(manifest(plan=PLAN | plan), SELECTION | selection)
    assert told in text
    assert ("tuned in full in phase uco" in text) == bool((SELECTION | selection)["tuned"])


def test_a_local_base_has_no_revision() -> None:
    base = {"name": "models/mine", "revision": None, "commit": None, "linears": {}}
    assert "| Base | `models/mine` |" in provenance(manifest(base=base), SELECTION).splitlines()


@pytest.mark.parametrize(
    "content", ["{", "[]", json.dumps(manifest(base=None)), json.dumps(manifest(phase="none"))], ids=range(4)
)
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "selection.json").write_text(json.dumps(SELECTION))
    with pytest.raises(CheckpointError, match=r"manifest\.json: there is no manifest here"):
        provenance_of(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        provenance_of(tmp_path)


HOSTILE = (
    "<script>alert(1)</script>",
    "[click](https://example.org)",
    "![x](https://example.org/x.png)",
    "a | b",
    "`</details>`",
    "```\nimport os\n```",
    'x")\nimport os\n("',
    "line\nbreak: true\n---\n",
    "\x1b[31mred\u202egnirts",
    "yes",
    "{base}",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_others_are_shown_and_do_nothing(name: str) -> None:
    """Of the base, the folder, data sets, phases, versions and components; in table, list, head and code."""
    base = {"name": name, "revision": name, "commit": name, "quantization": name}
    phases = [PHASES[0] | {"name": name, "title": name}]
    changes = {
        "base": base,
        "phases": phases,
        "plan": PLAN | {"dataset": [name]},
        "data": name,
        "versions": {name: name},
    }
    told = provenance(manifest(**changes), SELECTION | {"adapted": [name]})
    before, _, after = told.partition("```json\n")
    shown = before + after.partition("\n```")[2]
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(table) == 7
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table] == [3] * 7
    plain = re.sub(r"`[^`\n]*`", "", shown)
    assert "<script" not in plain
    assert plain.count("</details>") == plain.count("<details>") == 3
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", plain)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", shown)
    assert len([line for line in shown.splitlines() if line.startswith("- ")]) == 2
    words = dict.fromkeys(
        ("registration", "merging", "provenance", "reduction", "examples", "report", "score", "serving"), ""
    )
    for card in (outputs.CARD, export.CARD):
        text = card.format(**names_of(name, name), **words, method="", what="")
        _, head, body = text.split("---\n", 2)
        assert yaml.safe_load(head)["base_model"] == name
        program = body.partition("```python\n")[2].partition("\n```")[0]
        calls = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)]
        assert {node.value for node in calls} == {name}
        assert "import os" not in program.splitlines()


@pytest.mark.parametrize("content", ["plain", "a ``` b", "```", "x\n````\n</details>"])
def test_a_block_ends_where_it_should(content: str) -> None:
    fence, *lines, end = block(content).split("\n")
    assert fence == end
    assert lines == content.split("\n")
    assert all(fence not in line for line in lines)
