"""What is wrong with a command, once its options are read: one sentence each, with the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ...checkpoint.model_folder import foreign_output, output_problem
from ...families import strange_template
from ...methods import Method, load, methods, row_of
from ...options.attention import attention_conflicts
from ...options.fates.judge import broken_conditions
from ...options.fates.table import ROWS
from ...options.run import RunArguments
from ...paths import is_folder
from ...training.quantized import full_tuning_problem
from .arguments import collecting_problems
from .command import RawArgs, requested, requested_type
from .compat import upstream_version

_UNUSED = "not used by the HfArgumentParser"


def trains(given: Mapping[str, Any]) -> bool:
    """Return whether a command runs one of our workflows, to which the table of options applies in full."""
    asked = {name: str(given.get(name)).lower() == "true" for name in ("do_train", "do_predict")}
    stage = row_of(given.get("stage"), "stage")
    draws = stage is not None and stage.runs == "unless predicting"
    return asked["do_train"] or (draws and not asked["do_predict"])


def explained(error: Exception, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return what upstream's parser says, with a line of ours for each name that it does not know."""
    unused = [name for name in given if name not in defaults] if _UNUSED in str(error) else []
    lines = []
    word = str(error).partition(" is not a valid ")[0]
    if word != str(error):
        named = [name for name, value in given.items() if str(value) == word]
        return [f"{name}={error}" for name in named] or [str(error)]
    if str(error).startswith("Adapter "):
        return [
            f"adapter_name_or_path={given.get('adapter_name_or_path')} has no place in finetuning_type: "
            f"{given.get('finetuning_type')}; remove it, or set finetuning_type: lora ({error})"
        ]
    if "process group has not been initialized" in str(error) and given.get("ddp_backend"):
        return [
            f"ddp_backend={given['ddp_backend']} is for several processes, and this is one; remove it, or set "
            "FORCE_TORCHRUN=1"
        ]
    if "fine-tuning method" in str(error):
        return [f"finetuning_type={given.get('finetuning_type')} does not exist ({error})"]
    for name in unused:
        near = get_close_matches(name, defaults, n=1)
        advice = f"did you mean {near[0]}?" if near else "correct the name, or remove it"
        lines.append(f"{name} is no option of this command; {advice}")
    return lines or [" ".join(str(error).split())]


def named_by_trial(said: list[str], given: Mapping[str, Any], parse_without: Callable[[str], Any]) -> list[str]:
    """Return what a parser says with the name of the option that it speaks of, if one alone ends it.

    Args:
        said: what the parser says.
        given: options by name.
        parse_without: parses the command without an option.
    """
    for name, value in given.items():
        row = ROWS.get(name)
        if row is not None and row.takes is not None:
            continue  # its values have been looked at
        if _parses(parse_without, name):
            return [f"{name}={value}: {'; '.join(said)}; correct it, or remove it"]
    return said


def _parses(parse_without: Callable[[str], Any], name: str) -> bool:
    try:
        with collecting_problems():
            parse_without(name)
    except Exception:  # whatever the other options end it with
        return False
    return True


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
    finetuning: Any = next(group for group in groups if isinstance(group, RunArguments))
    rows, kind = requested(args), requested_type(args)
    method = bool(rows)
    known = (*get_args(get_type_hints(type(finetuning))["stage"]),)
    if finetuning.stage not in known:
        return [f"stage={finetuning.stage} does not exist; take one of {', '.join(known)}"]
    reads_itself = kind is not None and bool(kind.check_data)
    datasets = not reads_itself and training is not None
    problems = unknown_names(
        model,
        data,
        datasets=datasets,
        preferences=not (method and training is not None),
        weights=not finetuning.dry_run_gpus,
    )
    problems += _cache_problems(model)
    if not problems:
        problems += strange_adapters(model, finetuning)
    if training is not None:
        work = _work_problems(model, data, training, finetuning, datasets=datasets)
        if any(problem.startswith("output_dir") for problem in work):
            return problems + work
        problems += work
    for row in rows:
        if training is None:
            problems += load(row.check_inference)(model) if row.check_inference else []
        elif row.check_training:
            problems += load(row.check_training)(model, training, finetuning)
    if training is not None and trains(given):
        checked = given if method else {**given, **judged_as(), "finetuning_type": finetuning.finetuning_type}
        problems += broken_conditions(checked, tuple(groups))
        if not problems:
            problems += _kind_problems(rows, model, finetuning) or _model_problems(rows, model, data, finetuning)
    if method:
        problems += attention_conflicts(
            model, data, training, finetuning, upstream_version() or "of an unknown version"
        )
    return list(dict.fromkeys(problems))


def _cache_problems(model: Any) -> list[str]:
    """Return a folder of the cache that cannot be made or written to."""
    if model.cache_dir is None:
        return []
    found = output_problem(str(model.cache_dir))
    return [found.replace("output_dir", "cache_dir", 1)] if found else []


def judged_as() -> dict[str, str]:
    """Return the stage by whose column commands of upstream's own methods are checked, where that is asked for."""
    return {"stage": next(row.name for row in methods("stage") if not row.alone)}


def _config(model: Any) -> Any:
    """Return the model's configuration; None where it cannot be read, which is said elsewhere."""
    from ..pipeline.skeleton import config_of

    try:
        return config_of(model)
    except Exception:  # whatever a model's own code meets
        return None


def foreign_template(model: Any, data: Any) -> str | None:
    """Say that a run trains a model in the chat format of another family, which it may have reasons for.

    Args:
        model: upstream's group of the options.
        data: likewise.
    """
    config = _config(model)
    parts = (config, getattr(config, "text_config", None))
    kinds = [getattr(part, "model_type", None) for part in parts]
    return next((line for kind in kinds if (line := strange_template(kind, data.template))), None)


def _kind_problems(rows: Iterable[Method], model: Any, finetuning: Any) -> list[str]:
    """Return what no training command can do with the kind of a model, or with the way it is stored."""
    config = _config(model)
    problem = full_tuning_problem(config, finetuning.finetuning_type)
    if rows and getattr(config, "is_encoder_decoder", False):
        problem = (
            f"model_name_or_path={model.model_name_or_path} has an encoder of its own for the prompt, which no run "
            "here feeds; name a causal language model"
        )
    return [problem] if problem else []


def _skeleton(model: Any) -> Any:
    """Return the model without weights; None where its configuration does not tell."""
    from ...training.skeleton import skeleton
    from ..pipeline.skeleton import config_of

    try:
        return skeleton(config_of(model))
    except Exception:  # whatever a model's own code meets; loading it says more
        return None


def _model_problems(rows: Iterable[Method], model: Any, data: Any, finetuning: Any) -> list[str]:
    """Return what a model's configuration alone tells against the methods of a training command."""
    if any(row.alone for row in rows):
        return []
    checks = [load(row.check_model) for row in rows if row.check_model]
    packs = bool(rows) and bool(data.packing or data.neat_packing)
    bare = _skeleton(model) if checks or packs else None
    problems = _packed_states(bare) if packs else []
    return problems + [problem for check in checks for problem in check(bare, finetuning)]


def _packed_states(model: Any) -> list[str]:
    """Say that examples which share a row would run into one another, as states know of no border between them."""
    kinds = set(getattr(getattr(model, "config", None), "layer_types", None) or ())
    if not any("attention" not in kind or "linear" in kind for kind in kinds):
        return []
    kind = model.config.model_type
    return [f"packing: the layers of a {kind} carry states from one example into the next; remove packing"]


def _work_problems(model: Any, data: Any, training: Any, finetuning: Any, *, datasets: bool) -> list[str]:
    """Return a training command with nothing to do, nothing to do it with, or nowhere to keep it."""
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
    """Say why a run would write over what it reads, in words; None if it would not."""
    inputs = [
        ("model_name_or_path", model.model_name_or_path),
        *(("adapter_name_or_path", name) for name in model.adapter_name_or_path or ()),
        ("dataset_dir", data.dataset_dir),
    ]
    for option, name in inputs:
        if isinstance(name, str) and is_folder(Path(name)) and is_folder(Path(output)) and Path(name).samefile(output):
            return f"output_dir={output} is the folder of {option}, which would be written over; name another folder"
    return None
