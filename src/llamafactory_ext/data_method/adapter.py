"""A DATA adapter on a base model: a fresh one, the one of the tasks so far, or a line that says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.base import MANIFEST, check_base
from ..checkpoint.folders import check_adapter, newest_complete
from ..checkpoint.weight_files import DamagedError, read_object
from ..errors import CheckpointError, OptionError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ATTENTION = r".*\.self_attn\.[^.]+"
# Of the adapter's configuration, by the option that sets them for a new sequence.
SHAPE = {
    "data_low_rank": "low_rank",
    "data_high_rank": "high_rank",
    "data_components": "components",
    "data_layers_per_gate": "layers_per_gate",
    "data_gate": "gate",
    "data_init": "init",
}


SAVED = ("tasks", *SHAPE.values())
_COPY = "use a whole copy of the folder, or train it anew"


def is_ours(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether an adapter is one of DATA.

    Args:
        folder: of the adapter.
        config: its adapter_config.json.
    """
    return config.get("peft_type") == "DATA"


def new_adapter(base: Any, finetuning_args: Any, name: str, seed: int) -> Any:
    """Put a fresh adapter for the first task on a base model.

    Args:
        base: the model, which is frozen.
        finetuning_args: upstream's group of the options.
        name: of the base model.
        seed: of the gates' rows.
    """
    from peft import TaskType, get_peft_model

    from ..duo import DataAdapterConfig

    shape = {field: getattr(finetuning_args, option) for option, field in SHAPE.items()}
    config = DataAdapterConfig(
        **shape,
        tasks=[finetuning_args.data_task],
        target_modules=_ATTENTION if finetuning_args.data_target == "attention" else None,
        seed=seed,
        task_type=TaskType.CAUSAL_LM,
    )
    config.base_model_name_or_path = name
    return get_peft_model(base, config)


def go_on(base: Any, path: Path, finetuning_args: Any) -> Any:
    """Put the adapter of the tasks so far on a base model, with rows for the next task.

    Raises:
        ExtError: it is damaged, of another base or sequence, or has no room for the task.
    """
    config = check_sequence(path, finetuning_args)
    check_base(base, path)
    model = _placed(base, path, trains=True)
    if config["gate"] != finetuning_args.data_gate:
        finetuning_args.data_gate = config["gate"]
    model.base_model.add_task(finetuning_args.data_task)
    return model


def check_sequence(path: Path, finetuning_args: Any) -> dict[str, Any]:
    """Return the configuration of the adapter that a run goes on from, if it can.

    Raises:
        CheckpointError: there is none, it is of another method, or its tasks do not fit the runs before it.
        OptionError: options contradict it, or the task was learnt already.
    """
    if not (path / CONFIG).is_file():
        unfinished = " (a run has not finished there: repeat its command first)" if newest_complete(path) else ""
        raise CheckpointError(
            f"adapter_name_or_path={path} holds no {CONFIG}{unfinished}; name the output_dir of the task before, or "
            "remove the option to begin a sequence."
        )
    check_adapter(path)
    config = _read(path / CONFIG)
    if not is_ours(path, config):
        raise CheckpointError(
            f"adapter_name_or_path={path} holds a {config.get('peft_type')} adapter, not one of DATA; name the "
            "output_dir of the task before."
        )
    _check_fields(path / CONFIG, config)
    tasks = config["tasks"]
    if (path / MANIFEST).is_file():
        manifest = _read(path / MANIFEST)
        steps = manifest.get("sequence", [])
        if not isinstance(steps, list) or not isinstance(manifest.get("base"), dict):
            raise CheckpointError(f"{path / MANIFEST} is damaged (sequence is no list, or base no object); {_COPY}.")
        said = [step.get("task") for step in steps if isinstance(step, dict)]
        if said != tasks:
            raise CheckpointError(
                f"{path}: the adapter knows the tasks {', '.join(tasks)}, and its {MANIFEST} the runs "
                f"{', '.join(map(str, said)) or 'of none'}: a task is missing, or the files are of two sequences. "
                "Use a whole copy of the folder."
            )
    task = finetuning_args.data_task
    if task in tasks:
        raise OptionError(
            f"data_task={task}: the adapter in {path} has learnt it already ({', '.join(tasks)}); name another task."
        )
    problems = [
        f"{option}={getattr(finetuning_args, option)}, and the adapter has {config.get(field)}"
        for option, field in SHAPE.items()
        if option in given_of(finetuning_args) and getattr(finetuning_args, option) != config.get(field)
    ]
    if problems:
        raise OptionError.listing(
            f"The adapter in {path} goes on with the shape it began with; remove these, or begin a new sequence:",
            problems,
        )
    return config


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file of an adapter holds."""
    try:
        return read_object(path)
    except DamagedError as error:
        raise CheckpointError(f"{path} {error}; {_COPY}.") from None


def _check_fields(path: Path, config: Mapping[str, Any]) -> None:
    """Make sure that an adapter's configuration has the types that it was saved with."""
    from ..duo.config import CHECKS

    for fits, wanted, names in CHECKS:
        for name in names:
            if name in SAVED and not (name in config and _fits(fits, config[name])):
                raise CheckpointError(f"{path} is damaged ({name} must be {wanted}); {_COPY}.")


def _fits(test: Callable[[Any], bool], value: Any) -> bool:
    try:
        return test(value)
    except TypeError:  # of a value that cannot be compared
        return False


def given_of(finetuning_args: Any) -> list[str]:
    """Return the options that differ from their defaults."""
    from ..options.groups import changed_options
    from .options import DataMethodArguments

    return changed_options(finetuning_args, DataMethodArguments)


def load_adapter(model: Any, model_args: Any, finetuning_args: Any, paths: list[str]) -> Any:
    """Put the one adapter of `adapter_name_or_path` on the model, to answer with; its gates depend on the input."""
    from ..upstream.pipeline.new_rows import own_vocabulary, restore_rows

    if len(paths) != 1:
        raise OptionError(
            f"adapter_name_or_path names {len(paths)} adapters; a DATA adapter holds all of its tasks, give one."
        )
    path = Path(paths[0]) / (model_args.adapter_folder or "")
    if not (path / CONFIG).is_file():
        raise CheckpointError(f"adapter_name_or_path={path} holds no {CONFIG}; name the output_dir of a data run.")
    check_adapter(path)
    config = _read(path / CONFIG)
    if is_ours(path, config):
        _check_fields(path / CONFIG, config)
    if (path / MANIFEST).is_file():
        restore_rows(model, _read(path / MANIFEST), own_vocabulary(model_args))
    check_base(model, path)
    loaded = _placed(model, path, trains=False)
    if finetuning_args.data_rows == "task":
        if not finetuning_args.data_task:
            raise OptionError("data_rows: task needs the task whose rows are used; set data_task.")
        loaded.base_model.use_rows(finetuning_args.data_task)
    return loaded


def _placed(model: Any, path: Path, *, trains: bool) -> Any:
    """Return the model with an adapter on it, every tensor of it in its place."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        loaded = PeftModel.from_pretrained(model, str(path), is_trainable=trains)
    except (RuntimeError, ValueError) as error:
        raise _misfit(path, str(error).splitlines()[0]) from error
    with safe_open(path / WEIGHTS, "pt") as weights:
        saved = set(weights.keys())
    placed = get_peft_model_state_dict(loaded).keys()
    if unused := saved - placed:  # PEFT passes over tensors for modules that this base does not have
        raise _misfit(path, f"there is no place for {min(unused)}")
    if lacking := placed - saved:
        raise CheckpointError(f"the adapter in {path} lacks {min(lacking)}; use a whole copy, or train it anew.")
    return loaded


def _misfit(path: Path, difference: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter in {path} does not fit this base model ({difference}); set model_name_or_path to the one it was "
        "trained on."
    )
