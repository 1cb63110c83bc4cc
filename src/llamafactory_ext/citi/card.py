"""What a model card says about where a checkpoint comes from: base, phases, selection, data, settings, versions.

What it does: turns the manifest and the selection that lie beside an adapter into Markdown. What it does not do: write
the card; the run (`citi/run/outputs.py`) and the export (`citi/export.py`) put their own words around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..checkpoint.atomic import read_json
from ..checkpoint.base import MANIFEST
from ..errors import CheckpointError
from ..methods import counted

SELECTION = "selection.json"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"[|\[\]`<>\\]")
_ENTITIES = {"<": "&lt;", ">": "&gt;"}
_PLAIN = re.compile(r"[A-Za-z0-9_./~][\w./~+-]*", re.ASCII)
_TICKS = re.compile("`+")
END = {"top": "most important for tool use", "bottom": "least important for tool use", "random": "drawn at random"}


def text(value: Any) -> str:
    """Return names of others as Markdown that shows them and does nothing else, in one line."""
    line = " ".join(_CONTROL.sub(" ", str(value)).split())
    return _MARKUP.sub(lambda found: _ENTITIES.get(found[0]) or f"\\{found[0]}", line)


def code(value: Any) -> str:
    """Return a name as code within a line or a cell of a table."""
    line = " ".join(_CONTROL.sub(" ", str(value)).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`"


def quoted(value: Any) -> str:
    """Return a name as a text of Python and of YAML, which ends no block of code."""
    return json.dumps(str(value), ensure_ascii=True).replace("`", "\\u0060")


def scalar(value: Any) -> str:
    """Return a name for the head of a card, in quotes where YAML would read anything else in it."""
    plain = _PLAIN.fullmatch(str(value)) and yaml.safe_load(str(value)) == str(value)
    return str(value) if plain else quoted(value)


def block(content: str) -> str:
    """Return lines as they are, between fences that none of them ends."""
    lines = [_CONTROL.sub(" ", line) for line in content.split("\n")]
    longest = max((len(run) for line in lines for run in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])


def names_of(base: Any, name: Any) -> dict[str, str]:
    """Return the names of a base and of a folder as the gaps of a card take them."""
    return {
        "base_scalar": scalar(base),
        "base_code": code(base),
        "base_quoted": quoted(base),
        "title": text(name),
        "name_quoted": quoted(name),
    }


def provenance_of(adapter: Path) -> str:
    """Return the account of the adapter in a folder.

    Raises:
        CheckpointError: manifest or selection are missing or damaged.
    """
    manifest, selection = read_json(adapter / MANIFEST, "manifest"), read_json(adapter / SELECTION, "selection")
    try:
        return provenance(manifest, selection)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{adapter / MANIFEST} or {SELECTION} beside it is damaged ({error!r}); restore them, or train again."
        ) from None


def provenance(manifest: Mapping[str, Any], selection: Mapping[str, Any]) -> str:
    """Return Markdown: a table, the components' names and all settings in lists that unfold.

    Args:
        manifest: of a run, or of one of its phases; phases after that one are left out.
        selection: `Selection.to_dict()`.
    """
    plan = manifest["plan"]
    rows = {
        "Base": _base(manifest["base"]),
        "Phases": _phases(manifest),
        "Selection": _selected(plan, selection),
        "Data": f"{', '.join(map(text, plan['dataset'] or []))}; BLAKE2b of the tokenised examples "
        f"{code(manifest['data'])}",
        "Versions": ", ".join(f"{text(name)} {text(version)}" for name, version in manifest["versions"].items()),
    }
    parts = ["| | |\n|---|---|\n" + "\n".join(f"| {name} | {told} |" for name, told in rows.items())]
    for title, names in (("adapted", selection["adapted"]), ("tuned in full in phase uco", selection["tuned"])):
        if names:
            parts.append(_unfold(f"{len(names)} components {title}", "\n".join(f"- {code(name)}" for name in names)))
    settings = json.dumps(plan, indent=1, ensure_ascii=False)
    parts.append(_unfold("All settings", f"```json\n{settings}\n```"))
    return "\n\n".join(parts)


def _base(base: Mapping[str, Any]) -> str:
    revision = f", revision {text(base['revision'])}" if base["revision"] else ""
    commit = f", commit {code(base['commit'])}" if base["commit"] else ""
    quantized = f", quantised ({text(base['quantization'])})" if base.get("quantization") else ""
    return f"{code(base['name'])}{revision}{commit}{quantized}"


def _phases(manifest: Mapping[str, Any]) -> str:
    phases = manifest["phases"]
    names = [phase["name"] for phase in phases]
    done = phases[: names.index(manifest["phase"]) + 1] if "phase" in manifest else phases
    return "; ".join(
        f"{text(p['name'])} ({text(p['title'])}): {counted(p['epochs'], 'epoch')} at {p['lr']:g}" for p in done
    )


def _selected(plan: Mapping[str, Any], selection: Mapping[str, Any]) -> str:
    count, low_rank = len(selection["adapted"]), f"rank {plan['citi_rank']}, alpha {plan['citi_alpha']:g}"
    neutral = "" if plan["citi_router_neutral"] else ", no neutral gate"
    carried = {
        "molora": f"MOLoRA ({plan['citi_num_experts']} experts of {low_rank}{neutral})",
        "lora": f"LoRA ({low_rank})",
        "full": "full tuning",
    }[plan["citi_adapter"]]
    told = f"{carried} on {count} of {selection['total']} linear components, {END[selection['end']]}"
    if tuned := selection["tuned"]:
        told += f"; full tuning of {len(tuned)}, least important for general abilities"
    if displaced := selection["displaced"]:
        told += f" ({len(displaced)} chosen by both stay with the first)"
    return told


def _unfold(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"
