"""The importance file: scores of every component per task, with all that is needed to trust or refuse them."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint.atomic import read_json, write_json
from ..errors import CheckpointError, OptionError
from .selection import End, Selection, general_importance, normalise, select_components

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
EQ4 = "eq4"
TITLES = {
    EQ4: "eq. 4 of the paper",
    "snip": "sum of absolute first-order terms (SNIP)",
    "fisher": "trace of the empirical Fisher information",
    "wanda": "weights times activations (Wanda)",
}
TOOL = "tool"
GENERAL = "general"


@dataclass(frozen=True)
class TaskScores:
    """Importance of all components for one task.

    Attributes:
        mark: "tool" or "general".
        examples: examples the scores come from.
        scores: I_h per component, not normalised.
        halves: the same from either half of the examples, to see how much the ranking owes to chance; may be missing.
        vanishing: of files of earlier versions: components whose score is 0 by construction, as a norm behind them
            hides their scale.
        tokens: trained tokens that the scores come from, over all processes; 0 in files of earlier versions.
    """

    mark: str
    examples: int
    scores: dict[str, float]
    halves: list[dict[str, float]] = field(default_factory=list)
    vanishing: list[str] = field(default_factory=list)
    tokens: int = 0


@dataclass(frozen=True)
class Importance:
    """Scores per task.

    Attributes:
        base: name of the base model.
        shapes: weight shape of each component.
        settings: what shaped the scores: which score and why, reduction, number type, samples asked for, when a task
            had seen enough, data, seed.
        tasks: task name to scores.
        identity: configuration and some weights of the base, by which another model of the same shapes is recognised;
            empty in files of earlier versions.
    """

    base: str
    shapes: dict[str, list[int]]
    settings: dict[str, Any]
    tasks: dict[str, TaskScores] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> str:
        """Which score it holds; earlier versions had eq. 4 only."""
        return str(self.settings.get("score", EQ4))

    def score_problem(self, path: Path, asked: str) -> str | None:
        """Return why the file holds another score than a run asks for, in words; None if it does not."""
        if asked in ("auto", self.score):
            return None
        return (
            f"citi_importance_score: {asked} was asked for, and {path} holds {self.score} scores; set "
            f"citi_importance_score: {self.score}, or leave out citi_importance_load."
        )

    def other_base(self, path: Path, model: nn.Module) -> str | None:
        """Return how the model differs from the one that was scored, in words; None if it does not, or is not known.

        Args:
            path: of the file.
            model: with its weights, or on the meta device, where its configuration alone is compared.
        """
        if not self.identity:
            return None
        from ..checkpoint.base import config_difference, config_facts, difference

        was, facts = self.identity["config"], config_facts(getattr(model, "config", None))
        kinds = was.get("model_type"), facts.get("model_type")
        if None not in kinds and kinds[0] != kinds[1]:
            return f"that is a {kinds[0]}, this one a {kinds[1]}"
        found = config_difference(was, facts)
        if found is None and not any(weight.is_meta for weight in model.parameters()):
            found = difference({"base": self.identity}, path, model, self.shapes)
        return found

    def base_problem(self, path: Path, model: nn.Module) -> str | None:
        """Return the same as a sentence with the next step."""
        if (found := self.other_base(path, model)) is None:
            return None
        return (
            f"{path} belongs to another model ({self.base}): {found}. Leave out citi_importance_load, or name the "
            "file of this base model."
        )

    def unknown_base(self, path: Path) -> str | None:
        """Say that a file of an earlier version cannot tell whether it is of this model."""
        if self.identity:
            return None
        return (
            f"Warning: {path} does not say on which weights its scores were made, as an earlier version wrote it: its "
            f"components have the shapes of this model, which others share. It names {self.base}; if that is another "
            "model, compute the file anew without citi_importance_load."
        )

    def other_data(self, path: Path, data: str) -> str | None:
        """Say that the scores come from other examples than a run trains on, which it may have reasons for.

        Args:
            path: of the file.
            data: hash of the run's examples.
        """
        if self.settings.get("data") in (None, data):
            return None
        was = self.settings.get("dataset")
        names = ", ".join(map(str, was)) if isinstance(was, list) else was
        return (
            f"The scores of {path} come from other examples than this run trains on (dataset: {names} then): data "
            "set, records, template, cutoff_len, val_size or the method's token weights differ. They are taken as "
            "they are; leave out citi_importance_load to compute them on this data."
        )

    def of(self, mark: str) -> dict[str, TaskScores]:
        """Return the tasks with this mark."""
        return {name: task for name, task in self.tasks.items() if task.mark == mark}

    def tool_scores(self) -> dict[str, float]:
        """Return M_h (eq. 5): all tool data as one data set."""
        found = list(self.of(TOOL).values())
        if len(found) != 1:
            raise OptionError(
                f"the importance of {self.base} has {len(found)} tool tasks where one is due; compute it anew."
            )
        return normalise(found[0].scores)

    def general_scores(self) -> dict[str, float]:
        """Return C_h (eq. 10)."""
        tasks = {name: task.scores for name, task in self.of(GENERAL).items()}
        if not tasks or any(scores.keys() != self.tool_scores().keys() for scores in tasks.values()):
            raise OptionError(
                f"the importance of {self.base} has no general task, or one of other components; compute it anew."
            )
        return general_importance(tasks)

    def select(self, top: float, bottom: float, end: End = "top", seed: int = 0) -> Selection:
        """Return the selection by these scores."""
        return select_components(self.tool_scores(), self.general_scores(), top, bottom, end, seed)

    def stability(self, top: float, bottom: float, end: End = "top") -> tuple[float, float] | None:
        """Return the Jaccard index of what either half of the examples alone would select: adapted, tuned.

        None if unknown.
        """
        if not all(task.halves for task in self.tasks.values()):
            return None
        first, second = (
            replace(
                self, tasks={name: replace(task, scores=task.halves[i]) for name, task in self.tasks.items()}
            ).select(top, bottom, end)
            for i in range(2)
        )
        return jaccard(first.adapted, second.adapted), jaccard(first.tuned, second.tuned)

    def vanishing(self) -> tuple[str, ...]:
        """Return components whose scores are rounding noise, on whatever task."""
        return tuple(name for name in self.shapes if any(name in task.vanishing for task in self.tasks.values()))

    def remarks(self, top: float, bottom: float, end: End = "top") -> list[str]:
        """Return what a reader of the selection must know: how stable it is, and which scores mean nothing."""
        remarks = []
        if end != "random" and (stability := self.stability(top, bottom, end)) is not None:
            adapted, tuned = stability
            remarks.append(
                "Stability, the Jaccard index of what either half of the examples alone would select: "
                f"{adapted:.2f} for the adapted" + (f", {tuned:.2f} for full tuning." if bottom else ".")
            )
        if self.score != EQ4:
            because = f": of eq. 4, {why}" if (why := self.settings.get("instead_of_eq4")) else ""
            remarks.append(f"The scores are the {TITLES.get(self.score, self.score)}{because}.")
        if names := self.vanishing():
            kinds = sorted({name.rpartition(".")[2] for name in names})
            remarks.append(
                f"Warning: the scores of {len(names)} components ({', '.join(kinds)}) are rounding noise: a norm "
                "behind them hides their scale, so eq. 4 is 0 by construction and says nothing about them. Compute "
                "the file anew with citi_importance_score: auto."
            )
        return remarks

    def uncounted(self, path: Path) -> str | None:
        """Say which scores of a file cannot be trusted as they stand: their tokens were not counted."""
        names = [name for name, task in self.tasks.items() if not task.tokens]
        if not names:
            return None
        return (
            f"Warning: {path} does not say from how many tokens the scores of {', '.join(names)} come. An earlier "
            "version wrote it, which on several machines without a shared disk could add up wrong scores. If it ran "
            "so, compute the file anew without citi_importance_load."
        )

    def with_task(self, name: str, task: TaskScores) -> Importance:
        """Return a copy with one task more."""
        return replace(self, tasks={**self.tasks, name: task})

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "llamafactory_ext")}
        write_json(path, {"format": FORMAT, "versions": versions, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Importance:
        """Read a file.

        Raises:
            CheckpointError: missing, damaged, or of another format.
        """
        data = read_json(path, "importance file")
        try:
            if data["format"] != FORMAT:
                raise CheckpointError(
                    f"{path} has format {data['format']}, this version reads {FORMAT}; compute it anew."
                )
            tasks = {name: _checked(TaskScores(**task)) for name, task in data["tasks"].items()}
            if not isinstance(data["base"], str) or not isinstance(data["settings"], dict):
                raise TypeError("base or settings have another type")
            if data["settings"].get("score", EQ4) not in TITLES:
                raise CheckpointError(
                    f"{path} holds the score {str(data['settings']['score'])[:40]!r}, which this version does not "
                    "know; compute it anew."
                )
            if not all(_is_shape(shape) for shape in data["shapes"].values()):
                raise TypeError("a shape is none")
            return cls(data["base"], data["shapes"], data["settings"], tasks, _identity(data.get("identity", {})))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"{path} is no importance file ({error!r}); name one that CITI wrote.") from None

    def check(self, path: Path, shapes: Mapping[str, list[int]]) -> None:
        """Make sure that the scores are complete and belong to a model with these components.

        Raises:
            CheckpointError: other components, or scores that are no numbers.
            OptionError: no tool or no general task in it.
        """
        if dict(shapes) != self.shapes:
            odd = [name for name in sorted({*shapes, *self.shapes}) if shapes.get(name) != self.shapes.get(name)]
            raise CheckpointError(
                f"{path} belongs to another model ({self.base}): {odd[0]} differs, for example. Leave out "
                "citi_importance_load, or name the file of this base model."
            )
        if names := self.vanishing():
            raise CheckpointError(
                f"{path}: eq. 4 is 0 by construction for {len(names)} of {len(shapes)} components, {names[0]} for "
                "example, whose scale a norm hides. Leave out citi_importance_load: another score is computed."
            )
        self.check_scores(path)
        if len(self.of(TOOL)) != 1 or not self.of(GENERAL):
            raise OptionError(
                f"{path} has {len(self.of(TOOL))} tool and {len(self.of(GENERAL))} general tasks; one tool task and "
                "at least one general task are needed: compute it on both kinds of data."
            )

    def check_scores(self, path: Path) -> None:
        """Make sure that every task has a score of every component.

        Raises:
            CheckpointError: scores that are none, or of other components.
        """
        for name, task in self.tasks.items():
            odd = [
                component
                for component in self.shapes
                if not isinstance(score := task.scores.get(component), int | float) or not 0 <= score < math.inf
            ]
            if odd or task.scores.keys() != self.shapes.keys():
                raise CheckpointError(
                    f"{path}: task {name} has no usable score of {odd[0] if odd else 'exactly these components'}; "
                    "compute the file anew."
                )


def _identity(found: Any) -> dict[str, Any]:
    """Return what is known of the base, in the types that it was written with."""
    parts = [found, *(found.get(name) for name in ("config", "linears") if found)]
    linears = found.get("linears", {}).values()
    if not all(isinstance(part, dict) for part in parts) or not all(
        isinstance(linear, dict) and _is_shape(linear.get("shape")) and _are_numbers(linear.get("sample"))
        for linear in linears
    ):
        raise TypeError("identity has another type")
    return dict(found)


def _are_numbers(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(number, int | float) for number in found)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)


def _checked(task: TaskScores) -> TaskScores:
    """Return the scores of a task, whose parts have their types."""
    scored = [task.scores, *(task.halves or ())]
    if not isinstance(task.mark, str) or type(task.examples) is not int:
        raise TypeError("mark or examples have another type")
    if len(scored) not in (1, 3) or not all(isinstance(scores, dict) for scores in scored):
        raise TypeError("the scores have another type")
    if not all(isinstance(name, str) for name in task.vanishing):
        raise TypeError("vanishing names no components")
    return task


def jaccard(a: Collection[str], b: Collection[str]) -> float:
    """Return |A and B| / |A or B|; 1 for two empty sets."""
    return len({*a} & {*b}) / len({*a, *b}) if {*a, *b} else 1.0
