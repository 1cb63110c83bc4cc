"""What a finished run shows: report, pictures, model card."""

from __future__ import annotations

import json

from ..checkpoint.atomic import read_json, write_json
from ..checkpoint.base import MANIFEST
from .adapting import CARRIED
from .importance_file import Importance
from .report import Report, as_table
from .run import RunFolder
from .selection import Selection

CARD = """---
library_name: peft
base_model: {base}
tags: [citi, molora, tool-use, llama-factory]
---
# {name}

A CITI adapter (component importance-based tool-utilizing ability injection, arXiv:2409.13202) for `{base}`.

- MOLoRA on {adapted} of {total} linear components: {experts} experts of rank {rank}, alpha {alpha:g}.
- Tuned in full: {tuned} components.
- Phases: {phases}. Data: {data}.
- Importance: {reduction} reduction, {examples}.

```python
import llamafactory_ext  # registers MOLoRA with PEFT
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{name}")
```

It cannot be merged into the base, as its gates depend on the input. `llamafactory-cli export` writes a self-contained
model. `manifest.json` holds all settings and versions.

{report}"""


def write_outputs(
    folder: RunFolder,
    importance: Importance,
    selection: Selection,
    report: Report | None,
    report_to: list[str] | None,
) -> None:
    """Writes report.json, the PNGs and the model card into the run's folder."""
    from ..analysis.figures import importance_map, router_gates, training_curves

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
        write_json(path / "report.json", report.to_dict())
        if report.gates:
            router_gates(report.gates, path / "routers.png", neutral=plan["citi_router_neutral"])
    (path / "README.md").write_text(_card(folder, importance, selection, report), encoding="utf-8")


def _card(folder: RunFolder, importance: Importance, selection: Selection, report: Report | None) -> str:
    plan = read_json(folder.path / MANIFEST, "manifest")["plan"]
    examples = ", ".join(f"{task.examples} examples of {name}" for name, task in importance.tasks.items())
    return CARD.format(
        base=plan["model_name_or_path"],
        name=folder.path.name,
        adapted=len(selection.adapted),
        total=selection.total,
        tuned=len(selection.tuned),
        experts=plan["citi_num_experts"],
        rank=plan["citi_rank"],
        alpha=plan["citi_alpha"],
        phases=", ".join(f"{phase.name} ({phase.epochs:g} epochs, {phase.lr:g})" for phase in folder.phases),
        data=", ".join(plan["dataset"] or []),
        reduction=importance.settings.get("reduction"),
        examples=examples,
        report=f"```\n{as_table(report)}\n```\n" if report else "",
    )
