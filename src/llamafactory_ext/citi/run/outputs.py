"""What a finished run shows: report, pictures, model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...checkpoint.atomic import read_json, read_object, write_json
from ...checkpoint.base import MANIFEST
from ...families import Standing
from ..card import block, names_of, provenance, text
from ..importance_file import EQ4, TITLES, Importance
from ..selection import Selection
from .adapters import CARRIED
from .folder import RunFolder
from .report import Report, as_table

CARD = """---
library_name: peft
base_model: {base_scalar}
tags: [citi, molora, tool-use, llama-factory]
---
# {title}

A CITI adapter (component importance-based tool-utilizing ability injection, arXiv:2409.13202) for {base_code}.

```python
{registration}from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base_quoted}), {name_quoted})
```

{merging}

{report}{provenance}

Importance: {score}, {examples}.
"""
# By what the chosen components carry.
REGISTRATION = "import llamafactory_ext  # registers MOLoRA with PEFT\n"
UNMERGED = "It cannot be merged into the base, as its gates depend on the input. "
EXPORTED = "`llamafactory-cli export` writes a\nself-contained model for {loaders}."
NOT_EXPORTED = "It cannot be exported either:\n{reason}."
MERGED = "`llamafactory-cli export` with `finetuning_type: citi` merges it into the base."


@dataclass(frozen=True)
class Notes:
    """What a run knows of its base and its card tells.

    Attributes:
        standing: whether the architecture is exported and served.
        experts: on fused weights of experts; None where there are none.
    """

    standing: Standing
    experts: str | None = None

    def on_export(self, *, gated: bool) -> str:
        """Return what can be made of the adapter.

        Args:
            gated: whether it has gates, and is not merged.
        """
        if not gated:
            return MERGED
        if self.standing.export:
            return UNMERGED + NOT_EXPORTED.format(reason=text(self.standing.export))
        served = self.standing.serving
        loaders = f"transformers; {text(served)}" if served else "transformers and vLLM"
        return UNMERGED + EXPORTED.format(loaders=loaders)


def write_outputs(
    folder: RunFolder,
    importance: Importance,
    selection: Selection,
    report: Report | None,
    report_to: list[str] | None,
    notes: Notes,
    served: Mapping[str, Any] | None = None,
) -> None:
    """Write report.json, with how prompts are served, the PNGs and the model card into the run's folder."""
    from ...figures.run import importance_map, router_gates, training_curves

    path = folder.path
    plan = read_json(path / MANIFEST, "manifest")["plan"]
    importance_map(
        importance.tool_scores(),
        importance.general_scores(),
        selection.adapted,
        selection.tuned,
        path / "importance.png",
        CARRIED[plan["citi_adapter"]],
    )
    histories = {}
    for phase in folder.phases:
        state = folder.folder(phase) / "trainer_state.json"
        if state.is_file():
            histories[phase.name] = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    if any("loss" in entry for history in histories.values() for entry in history):
        training_curves(histories, path / "training.png")
    if report is not None:
        write_json(path / "report.json", {**report.to_dict(), "served_prompt": dict(served or {})})
        if report.gates:
            router_gates(report.gates, path / "routers.png", neutral=plan["citi_router_neutral"])
    (path / "README.md").write_text(_card(folder, importance, selection, report, notes), encoding="utf-8")


def _card(folder: RunFolder, importance: Importance, selection: Selection, report: Report | None, notes: Notes) -> str:
    manifest = read_object(folder.path / MANIFEST, "manifest")
    plan = manifest["plan"]
    gated = plan["citi_adapter"] == "molora"
    examples = ", ".join(f"{task.examples} examples of {text(name)}" for name, task in importance.tasks.items())
    return CARD.format(
        **names_of(plan["model_name_or_path"], folder.path.name),
        registration=REGISTRATION if gated else "",
        merging="\n\n".join(filter(None, (notes.on_export(gated=gated), notes.experts))),
        provenance=provenance(manifest, selection.to_dict()),
        score=text(_score(importance)),
        examples=examples,
        report=f"{block(as_table(report))}\n\n" if report else "",
    )


def _score(importance: Importance) -> str:
    """Return which score the run ranked by, and why it was not the paper's."""
    title = TITLES[importance.score]
    if importance.score == EQ4:
        return f"{title}, {importance.settings.get('reduction')} reduction"
    why = importance.settings.get("instead_of_eq4")
    return f"{title}; of eq. 4, {why}" if why else title
