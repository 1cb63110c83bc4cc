"""Asking the experts of `data_protect: experts`: each question goes to the one that its prompt is for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import write_json, write_text
from ..checkpoint.own import sha256
from .measured import Measured, digest, fact
from .trainings import Training, fingerprint

ROUTER: Final = "router.safetensors"
_BASE: Final = -1  # as in routing.py


@dataclass
class Experts(Measured):
    """Asks several adapters.

    Attributes:
        trainings: of the tasks so far, in order.
    """

    trainings: Sequence[Training] = field(default_factory=list)

    def weights(self) -> str:
        """Return a hash of all adapters and of what routes to them."""
        self._learn()
        return digest(*((fingerprint(one.adapter), sha256(one.place / ROUTER)) for one in self.trainings))

    def stored_bytes(self) -> int:
        """Return the bytes of all adapters and of what routes to them."""
        self._learn()
        return sum(one.stored_bytes() + (one.place / ROUTER).stat().st_size for one in self.trainings)

    def answered(self, folder: Path, model: Path, jobs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        """Return the answers to each file of questions; `model` is not asked."""
        chosen = self._route(folder, jobs)
        answers: list[dict[int, str]] = [{} for _ in jobs]
        for expert in sorted({choice for choices in chosen for choice in choices}):
            parts, places = [], []
            for job, choices in zip(jobs, chosen, strict=True):
                own = [place for place, choice in enumerate(choices) if choice == expert]
                places.append(own)
                if own:
                    parts.append(_part(job, own, expert))
            model = Path(self.plan.model) if expert == _BASE else self.trainings[expert].answers
            found = iter(super().answered(folder, model, parts))
            for texts, own in zip(answers, places, strict=True):
                if own:
                    texts.update(zip(own, next(found), strict=True))
        return [[texts[place] for place in sorted(texts)] for texts in answers]

    def _learn(self) -> None:
        """Find where each task's prompts lie, once."""
        for one in self.trainings:
            dataset, out = one.place / "data" / "task.json", one.place / ROUTER
            first = None if one is self.trainings[0] else str(self.trainings[0].place / ROUTER)
            made_from = digest(sha256(dataset), None if first is None else sha256(Path(first)), self.plan.template)
            kept = fact(one.place / "router.json")
            if kept.get("made_from") == made_from and out.is_file() and kept.get("file") == sha256(out):
                continue
            self.tell(f"{one.method.name}, seed {one.seed}: where the prompts of {one.task.name} lie")
            learn = {"dataset": str(dataset), "out": str(out), "first": first}
            self._start(one.place, {"learn": learn})
            write_json(one.place / "router.json", {"made_from": made_from, "file": sha256(out)})

    def _route(self, folder: Path, jobs: Sequence[Mapping[str, Any]]) -> list[list[int]]:
        outs = [Path(job["dataset"]).with_suffix(".experts.json") for job in jobs]
        route = [{"dataset": job["dataset"], "out": str(out)} for job, out in zip(jobs, outs, strict=True)]
        self._start(folder, {"experts": [str(one.place / ROUTER) for one in self.trainings], "route": route})
        return [json.loads(out.read_text("utf-8")) for out in outs]

    def _start(self, folder: Path, job: Mapping[str, Any]) -> None:
        plan, path = self.plan, folder / "routing.json"
        write_json(path, {"model": plan.model, "template": plan.template, "batch_size": plan.batch_size, **job})
        self.run([sys.executable, "-m", "llamafactory_ext.cl.routing", str(path)], folder / "routing.log")


def _part(job: Mapping[str, Any], places: Sequence[int], expert: int) -> dict[str, Any]:
    """Write the questions of one expert and return what asks them."""
    dataset = Path(job["dataset"])
    name = "base" if expert == _BASE else f"expert-{expert + 1}"
    questions = json.loads(dataset.read_text("utf-8"))
    own = [questions[place] for place in places]
    part = dataset.with_suffix(f".{name}.{digest(own)[:12]}.json")
    write_text(part, json.dumps(own, ensure_ascii=False))
    return {**job, "dataset": str(part), "out": str(part.with_suffix(".jsonl"))}
