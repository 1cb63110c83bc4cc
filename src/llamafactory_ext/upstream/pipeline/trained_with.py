"""The template that a checkpoint of ours was trained with, beside the one that it is asked with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...checkpoint.base import MANIFEST

REPORT = "tl_report.json"  # of our stages; runs in phases keep a manifest


def trained_template(folder: Path) -> str | None:
    """Return the template that the run in a folder was trained with; None where nothing says so."""
    manifest, report = read_facts(folder / MANIFEST), read_facts(folder / REPORT)
    plan = manifest.get("plan")
    found = plan.get("template") if isinstance(plan, dict) else report.get("template")
    return found if isinstance(found, str) else None


def template_remark(places: str | Sequence[str] | None, template: str | None) -> str | None:
    """Return a warning where a model is asked with another template than it was trained with; None without one.

    Args:
        places: folders of adapters or of the model, as options name them.
        template: that prompts are written with.
    """
    for place in [places] if isinstance(places, str) else places or ():
        trained = trained_template(Path(place).expanduser())
        if trained is not None and template is not None and trained != template:
            return (
                f"{place} was trained with template {trained}, and its prompts are now written with {template}: "
                f"answers may be empty or wrong. Set template: {trained}."
            )
    return None


def read_facts(path: Path) -> dict[str, Any]:
    """Return the object that a file of a run holds; an empty one where there is none to read."""
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
