"""What a model card says about where a checkpoint comes from: base, phases, selection, data, settings, versions.

What it does: turns the manifest and the selection that lie beside an adapter into Markdown. What it does not do: write
the card; the run (`citi/run/outputs.py`) and the export (`citi/export.py`) put their own words around it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json
from ..checkpoint.base import MANIFEST
from ..errors import CheckpointError

SELECTION = "selection.json"
END = {"top": "most important for tool use", "bottom": "least important for tool use", "random": "drawn at random"}


def provenance_of(adapter: Path) -> str:
    """The account of the adapter in a folder.

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
    """Markdown: a table, the components' names and all settings in lists that unfold.

    Args:
        manifest: of a run, or of one of its phases; phases after that one are left out.
        selection: `Selection.to_dict()`.
    """
    plan = manifest["plan"]
    rows = {
        "Base": _base(manifest["base"]),
        "Phases": _phases(manifest),
        "Selection": _selected(plan, selection),
        "Data": f"{', '.join(plan['dataset'] or [])}; BLAKE2b of the tokenised examples `{manifest['data']}`",
        "Versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
    }
    parts = ["| | |\n|---|---|\n" + "\n".join(f"| {name} | {text} |" for name, text in rows.items())]
    for title, names in (("adapted", selection["adapted"]), ("tuned in full in phase uco", selection["tuned"])):
        if names:
            parts.append(_unfold(f"{len(names)} components {title}", "\n".join(f"- `{name}`" for name in names)))
    settings = json.dumps(plan, indent=1, ensure_ascii=False)
    parts.append(_unfold("All settings", f"```json\n{settings}\n```"))
    return "\n\n".join(parts)


def _base(base: Mapping[str, Any]) -> str:
    revision = f", revision {base['revision']}" if base["revision"] else ""
    commit = f", commit `{base['commit']}`" if base["commit"] else ""
    quantized = f", quantised ({base['quantization']})" if base.get("quantization") else ""
    return f"`{base['name']}`{revision}{commit}{quantized}"


def _phases(manifest: Mapping[str, Any]) -> str:
    phases = manifest["phases"]
    names = [phase["name"] for phase in phases]
    done = phases[: names.index(manifest["phase"]) + 1] if "phase" in manifest else phases
    return "; ".join(f"{p['name']} ({p['title']}): {p['epochs']:g} epochs at {p['lr']:g}" for p in done)


def _selected(plan: Mapping[str, Any], selection: Mapping[str, Any]) -> str:
    count, low_rank = len(selection["adapted"]), f"rank {plan['citi_rank']}, alpha {plan['citi_alpha']:g}"
    neutral = "" if plan["citi_router_neutral"] else ", no neutral gate"
    carried = {
        "molora": f"MOLoRA ({plan['citi_num_experts']} experts of {low_rank}{neutral})",
        "lora": f"LoRA ({low_rank})",
        "full": "full tuning",
    }[plan["citi_adapter"]]
    text = f"{carried} on {count} of {selection['total']} linear components, {END[selection['end']]}"
    if tuned := selection["tuned"]:
        text += f"; full tuning of {len(tuned)}, least important for general abilities"
    if displaced := selection["displaced"]:
        text += f" ({len(displaced)} chosen by both stay with the first)"
    return text


def _unfold(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"
