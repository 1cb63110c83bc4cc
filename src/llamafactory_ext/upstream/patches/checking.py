"""What is wrong with a command, once its options are read: one sentence each, with the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ...checkpoint.model_folder import foreign_output, output_problem
from ...citi.conflicts import inference_conflicts, training_conflicts
from ...citi.options import CitiArguments
from ...options.attention import attention_conflicts
from ...options.fates.judge import broken_conditions
from ...options.stages import PPO_STAGE, SFT_STAGE
from ...tl.conflicts import stage_training_conflicts
from .command import RawArgs, requests_citi, requests_stage
from .compat import upstream_version

_UNUSED = "not used by the HfArgumentParser"


def trains(given: Mapping[str, Any]) -> bool:
    """Return whether a command runs one of our workflows, to which the table of options applies in full."""
    asked = {name: str(given.get(name)).lower() == "true" for name in ("do_train", "do_predict")}
    return asked["do_train"] or (given.get("stage") == PPO_STAGE and not asked["do_predict"])


def explained(error: Exception, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What upstream's parser says, with a line of ours for each name that it does not know."""
    unused = [name for name in given if name not in defaults] if _UNUSED in str(error) else []
    lines = []
    word = str(error).partition(" is not a valid ")[0]
    if word != str(error):
        named = [name for name, value in given.items() if str(value) == word]
        return [f"{name}={error}" for name in named] or [str(error)]
    if str(error).startswith("Adapter "):
        return [f"adapter_name_or_path: {error}"]
    if "fine-tuning method" in str(error):
        return [f"finetuning_type={given.get('finetuning_type')} does not exist ({error})"]
    for name in unused:
        near = get_close_matches(name, defaults, n=1)
        advice = f"did you mean {near[0]}?" if near else "correct the name, or remove it"
        lines.append(f"{name} is no option of this command; {advice}")
    return lines or [str(error)]


def conflicts(args: RawArgs, given: Mapping[str, Any], groups: Sequence[Any]) -> list[str]:
    """Return a sentence for each thing that keeps a command from its work, before a model is loaded.

    Args:
        args: the command as it was typed.
        given: its options by the names of fields.
        groups: upstream's parsed groups.
    """
    from ..pipeline.named import strange_adapters, unknown_names

    by_field: dict[str, Any] = {}
    for marker in ("model_name_or_path", "cutoff_len", "output_dir"):
        by_field[marker] = next((group for group in groups if hasattr(group, marker)), None)
    model, data, training = by_field.values()
    finetuning = next(group for group in groups if isinstance(group, CitiArguments))
    method = requests_citi(args) or requests_stage(args)
    known = (*get_args(get_type_hints(type(finetuning))["stage"]),)
    if finetuning.stage not in known:  # type: ignore[attr-defined]
        return [f"stage={finetuning.stage} does not exist; take one of {', '.join(known)}"]  # type: ignore[attr-defined]
    datasets = not requests_citi(args) and training is not None
    problems = unknown_names(
        model,
        data,
        datasets=datasets,
        preferences=not (method and training is not None),
        weights=not finetuning.dry_run_gpus,  # type: ignore[attr-defined]
    )
    if not problems:
        problems += strange_adapters(model, finetuning)
    if training is not None:
        work = _work_problems(model, data, training, finetuning, datasets=datasets)
        if any(problem.startswith("output_dir") for problem in work):
            return problems + work
        problems += work
    if requests_citi(args):
        problems += inference_conflicts(model) if training is None else training_conflicts(model, training, finetuning)
    if training is not None:
        if requests_stage(args):
            problems += stage_training_conflicts(given["stage"], model, training, finetuning)
        if trains(given):
            kind = getattr(finetuning, "finetuning_type", None)
            checked = given if method else {**given, "stage": SFT_STAGE, "finetuning_type": kind}
            problems += broken_conditions(checked, tuple(groups))
            if requests_citi(args) and given.get("stage") != PPO_STAGE and not problems:
                problems += _citi_problems(model, finetuning)
    if method:
        problems += attention_conflicts(
            model, data, training, finetuning, upstream_version() or "of an unknown version"
        )
    return list(dict.fromkeys(problems))


def _citi_problems(model: Any, finetuning: Any) -> list[str]:
    """What the model's configuration and the importance file say against a citi run."""
    from ...citi.run.early import early_problems
    from ..pipeline.skeleton import config_of, skeleton

    try:
        bare = None if model.quantization_bit is not None else skeleton(config_of(model))
    except Exception:  # whatever a model's own code meets; loading it says more
        bare = None
    save = finetuning.citi_importance_save
    unwritable = output_problem(str(Path(save).parent)) if save else None
    problems = [unwritable.replace("output_dir=", "citi_importance_save: ")] if unwritable else []
    if save and Path(save).is_dir():
        problems.append(f"citi_importance_save={save} is a folder; name a file in it, such as {save}/importance.json")
    return problems + early_problems(bare, finetuning)


def _work_problems(model: Any, data: Any, training: Any, finetuning: Any, *, datasets: bool) -> list[str]:
    """A training command with nothing to do, nothing to do it with, or nowhere to keep it."""
    asked = [name for name in ("do_train", "do_eval", "do_predict") if getattr(training, name)]
    if not asked:
        return ["do_train is not set, and nothing else is asked for; set do_train: true"]
    problems = []
    if "do_train" in asked and datasets and not data.dataset:
        problems.append("dataset is missing; name one or more entries of dataset_info.json, such as dataset: mine")
    output = str(training.output_dir)
    problem = output_problem(output) or output_is_input(output, model, data)
    keeps = "do_train" in asked and not finetuning.dry_run and not getattr(training, "overwrite_output_dir", False)
    if problem is None and keeps:
        problem = foreign_output(output)
    if finetuning.dry_run_gpus and not finetuning.dry_run:
        problems.append("dry_run_gpus is for an estimate; set dry_run: true too, or remove it to train")
    return [*problems, problem] if problem else problems


def output_is_input(output: str, model: Any, data: Any) -> str | None:
    """Why a run would write over what it reads, in words; None if it would not."""
    inputs = [
        ("model_name_or_path", model.model_name_or_path),
        *(("adapter_name_or_path", name) for name in model.adapter_name_or_path or ()),
        ("dataset_dir", data.dataset_dir),
    ]
    for option, name in inputs:
        if isinstance(name, str) and Path(name).is_dir() and Path(output).is_dir() and Path(name).samefile(output):
            return f"output_dir={output} is the folder of {option}, which would be written over; name another folder"
    return None
