"""The lines of `llamafactory-ext doctor --model`: whether a model trains, exports and serves with CITI, if not why."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.model_folder import SCRATCH, model_problems
from ..families import family_of, is_export
from ..training.parameters import has_tower
from ..training.quantized import stored_quantization
from .architecture import Architecture
from .run.early import quantized_problem

Line = tuple[str, str, str, str]  # what, its state, what was found, the next step


def model_checks(folder: Path) -> tuple[list[Line], str]:
    """Return what a model's config.json allows, and the row to try for an architecture without one.

    What keeps a training command from the model is said in that command's words.

    Raises:
        CheckpointError: the folder has no usable config.json.
    """
    found = Architecture(folder)
    kind = found.standing.model_type
    checks: list[Line] = [("files", "broken", *_parted(problem.replace(SCRATCH, ""))) for problem in _problems(folder)]
    checks = checks or [("files", "ok", "config, weights and tokenizer are there", "")]
    if found.obstacle is not None:
        return [(f"trains: {kind}", "broken", *_parted(found.obstacle)), *checks], ""
    if (quantized := quantized_problem(found.config, ())) is not None:
        return [(f"trains: {kind}", "broken", *_parted(quantized)), *checks], ""
    if found.trial.problem is not None:
        if family_of(kind) is not None:
            step = "correct its config.json, or get the model again"
            return [(f"trains: {kind}", "broken", found.trial.problem, step), *checks], ""
        step = "try a short run (max_steps: 2), and report it with this line"
        unknown: Line = (f"trains: {kind}", "warning", f"unknown, as {found.trial.problem}", step)
        return [unknown, *_export_lines(found), *checks], _row(found)
    kinds = ", ".join(f"{count} {name}" for name, count in found.kinds.items())
    trains: list[Line] = [(f"trains: {kind}", "ok", f"{sum(found.kinds.values())} linears: {kinds}", "")]
    if (quantized := quantized_problem(found.config, ("uco",))) is not None:
        trains.append(("phases", "warning", *_parted(quantized)))
    if found.experts:
        count = sum(found.experts.values())
        share = f"{count:,} parameters ({count / found.parameters:.0%}) of {', '.join(found.experts)}"
        step = "nothing: weights of all experts in one tensor are no linears, and stay as they are, like routers"
        trains.append(("left as they are", "warning", share, step))
    if hidden := found.trial.vanishing:
        step = "nothing: citi_importance_score: auto takes another score for all linears"
        trains.append(("importance", "warning", f"eq. 4 is 0 by construction for {', '.join(hidden)}", step))
    else:
        trains.append(("importance", "ok", "eq. 4 exists for every linear", ""))
    return [*trains, *_template_lines(found), *_export_lines(found), *checks], _row(found)


def _template_lines(found: Architecture) -> list[Line]:
    """Return which of LLaMA-Factory's templates a family was trained in; nothing where that is not known."""
    inner = found.written.get("text_config")
    kinds = (found.written["model_type"], inner.get("model_type") if isinstance(inner, dict) else None)
    row = next(filter(None, map(family_of, kinds)), None)
    if row is None:
        return []
    if row.templates:
        return [("template", "ok", ", ".join(row.templates), "")]
    step = f"template: {', '.join(row.akin)}, which has the same marks"
    return [("template", "warning", f"LLaMA-Factory has none of {row.models}'s own", step)]


def _export_lines(found: Architecture) -> list[Line]:
    standing = found.standing
    if standing.export is not None:
        return [("exports, and serves with vLLM", "warning", *_parted(standing.export))]
    exports: Line = ("exports", "ok", f"citi_{standing.model_type}", "")
    if (method := stored_quantization(found.config)) is not None:
        step = "load the adapter on the unquantized base, and export that"
        exports = ("exports", "warning", f"not on a base that is quantized ({method})", step)
    if standing.serving is None:
        return [exports, ("serves with vLLM", "ok", "yes", "")]
    return [exports, ("serves with vLLM", "warning", *_parted(standing.serving))]


def _row(found: Architecture) -> str:
    """Return the row to try; nothing where there is one, or where a row would not do."""
    if found.standing.export is None or has_tower(found.config) or is_export(found.written):
        return ""
    return found.row()


def _problems(folder: Path) -> list[str]:
    """Return what keeps a run from a folder; without LLaMA-Factory, what its files alone show."""
    try:
        from ..upstream.pipeline.named import local_problems
    except ImportError:
        return model_problems(folder)
    return local_problems(folder)


def _parted(sentence: str) -> tuple[str, str]:
    """Return part what was found from the next step."""
    found, _, step = sentence.rpartition("; ")
    return (found, step) if found else (step, "")
