"""The lines of `llamafactory-ext doctor --model`: whether a model trains, exports and serves with CITI, if not why."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.model_folder import model_problems, stored_tensors
from ..families import family_of
from .architecture import Architecture

Line = tuple[str, str, str, str]  # what, its state, what was found, the next step


def model_checks(folder: Path) -> tuple[list[Line], str]:
    """Return what a model's config.json allows, and the row to try for an architecture without one.

    Raises:
        CheckpointError: the folder has no usable config.json.
    """
    found = Architecture(folder)
    standing, kind = found.standing, found.standing.model_type
    problems = model_problems(folder) or _strange_weights(found)
    checks: list[Line] = [("files", "broken", *_parted(problem)) for problem in problems]
    checks = checks or [("files", "ok", "config, weights and tokenizer are there", "")]
    if found.obstacle is not None:
        return [(f"trains: {kind}", "broken", *_parted(found.obstacle)), *checks], ""
    if found.trial.problem is not None:
        step = "report it, with this line; stage: sft with finetuning_type: lora may do"
        return [(f"trains: {kind}", "broken", found.trial.problem, step), *checks], ""
    kinds = ", ".join(f"{count} {name}" for name, count in found.kinds.items())
    trains: list[Line] = [(f"trains: {kind}", "ok", f"{sum(found.kinds.values())} linears: {kinds}", "")]
    if found.experts:
        count = sum(found.experts.values())
        share = f"{count:,} parameters ({count / found.parameters:.0%}) of {', '.join(found.experts)}"
        step = "nothing: weights of all experts in one tensor are no linears, and stay as they are"
        trains.append(("left as they are", "warning", share, step))
    if hidden := found.trial.vanishing:
        step = "nothing: citi_importance_score: auto takes another score for all linears"
        trains.append(("importance", "warning", f"eq. 4 is 0 by construction for {', '.join(hidden)}", step))
    else:
        trains.append(("importance", "ok", "eq. 4 exists for every linear", ""))
    row = ""
    if standing.export is None:
        trains.append(("exports", "ok", f"citi_{kind}", ""))
        served: Line = ("serves with vLLM", "ok", "yes", "")
        if standing.serving is not None:
            served = ("serves with vLLM", "warning", *_parted(standing.serving))
        trains.append(served)
    else:
        trains.append(("exports, and serves with vLLM", "warning", *_parted(standing.export)))
        row = found.row() if family_of(found.written["model_type"]) is None else ""
    return [*trains, *checks], row


def _strange_weights(found: Architecture) -> list[str]:
    """Return how weights contradict their configuration, if they do; an architecture as doctor has found it."""
    try:
        from ..upstream.pipeline.skeleton import lost_weights
    except ImportError:  # without LLaMA-Factory
        return []
    if found.model is None or found.written.get("quantization_config"):
        return []
    fault = lost_weights(found.model, stored_tensors(found.folder))
    return [f"weights and config.json contradict each other: {fault}; get the model again"] if fault else []


def _parted(sentence: str) -> tuple[str, str]:
    """Return part what was found from the next step."""
    found, _, step = sentence.rpartition("; ")
    return (found, step) if found else (step, "")
