"""Names in a command that stand for nothing, or for what cannot be used: model, template, data sets, adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...checkpoint.base import MANIFEST
from ...checkpoint.folders import check_adapter
from ...checkpoint.model_folder import ADAPTER_CONFIG, CONFIG, adapter_problems, model_problems
from ...checkpoint.weight_files import DamagedError, read_header, read_object, stored_tensors
from ...data.checks.named import dataset_problems
from ...data.files.writing import existing_dataset_info
from ...errors import CheckpointError, DataError
from ...methods import load, methods
from ...paths import is_file, is_folder
from .quantizers import quantizer_problems

OTHER_HUBS = ("USE_MODELSCOPE_HUB", "USE_OPENMIND_HUB")
_HERE = "correct the path, or name a model of the Hugging Face hub that can be reached from here"


def unknown_names(
    model_args: Any, data_args: Any, *, datasets: bool, preferences: bool = True, weights: bool = True
) -> list[str]:
    """Return a sentence for each name that cannot be found or used.

    Args:
        model_args: upstream's group of the options.
        data_args: likewise.
        datasets: whether `dataset` and `dataset_dir` are looked at too; some methods read them themselves.
        preferences: whether data sets of preferences can be used.
        weights: whether the model must have weights.
    """
    from llamafactory.data.template import TEMPLATES
    from llamafactory.data.tool_utils import TOOLS

    problems = _model_problems(model_args, weights and not getattr(model_args, "train_from_scratch", False))
    problems += _adapter_problems(model_args)
    name = data_args.template
    if name is not None and name not in TEMPLATES:
        similar = get_close_matches(str(name), TEMPLATES, n=3)
        advice = f"did you mean {' or '.join(similar)}?" if similar else "see LLaMA-Factory's list of models"
        problems.append(f"template={name} does not exist; {advice}")
    name = data_args.tool_format
    if name is not None and name not in TOOLS:
        problems.append(f"tool_format={name} does not exist; take one of {', '.join(TOOLS)}")
    options = ("dataset", "eval_dataset") if datasets else ("eval_dataset",)
    return problems + _dataset_problems(data_args, options, preferences)


def strange_adapters(model_args: Any, finetuning_args: Any) -> list[str]:
    """Return a sentence for each local adapter that belongs to another model."""
    folders = [
        path for path in map(_adapter_folder(model_args), model_args.adapter_name_or_path or []) if path.is_dir()
    ]
    kind = finetuning_args.finetuning_type
    own = [row.name for row in methods("finetuning_type") if row.adapter is not None]
    if kind not in ("lora", *own) or not folders:
        return []
    from ...training.skeleton import skeleton
    from .skeleton import config_of, lost_part, misfit

    if foreign := [line for folder in folders if kind == "lora" and (line := _of_a_method(folder))]:
        return foreign
    try:
        model = skeleton(config_of(model_args))
    except Exception:  # whatever a model's own code meets; loading it says more
        return []
    problems = []
    for folder in folders:
        file = folder / "adapter_model.safetensors"
        try:
            config, tensors = read_object(folder / ADAPTER_CONFIG), read_header(file) if file.is_file() else {}
            fault = misfit(model, tensors, config.get("target_modules"))
            lost = lost_part(model, tensors, config) if kind == "lora" else None
        except DamagedError:
            continue  # said elsewhere
        if lost and not fault:
            problems.append(f"adapter_name_or_path={folder} lacks {lost}; name another checkpoint, or train it anew")
        if fault:
            problems.append(
                f"adapter_name_or_path={folder} belongs to another base than model_name_or_path="
                f"{model_args.model_name_or_path} ({fault}); name its own"
            )
    return problems or _of_another_family(folders, model_args)


def _of_another_family(folders: Iterable[Path], model_args: Any) -> list[str]:
    """Return a sentence for each adapter of a run of ours on another architecture, as its manifest says."""
    from .skeleton import config_of

    found = {folder: kind for folder in folders if (kind := _family_trained_on(folder))}
    try:
        config = config_of(model_args) if found else None
    except Exception:  # whatever a model's own code meets; said elsewhere
        return []
    parts = (config, getattr(config, "text_config", None))
    kinds = [kind for part in parts if (kind := getattr(part, "model_type", None))]
    return [
        f"adapter_name_or_path={folder} was trained on a {was}, and model_name_or_path="
        f"{model_args.model_name_or_path} is a {kinds[0]}; name its own base ({base}), or correct that name in its "
        f"{ADAPTER_CONFIG}"
        for folder, (was, base) in found.items()
        if kinds and was not in kinds
    ]


def _family_trained_on(folder: Path) -> tuple[str, str] | None:
    """Return the architecture and the name of an adapter's base, where that is known.

    A run of ours has kept it; of others the name alone is there, and the folder that it may name.
    """
    try:
        name = str(read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path"))
        if (folder / MANIFEST).is_file():
            base = read_object(folder / MANIFEST).get("base")
            config = base.get("config") if isinstance(base, dict) else None
        else:
            config = read_object(Path(name) / CONFIG) if is_file(Path(name) / CONFIG) else None
    except (DamagedError, OSError, ValueError):  # said elsewhere
        return None
    kind = config.get("model_type") if isinstance(config, dict) else None
    return (kind, name) if isinstance(kind, str) else None


def _of_a_method(folder: Path) -> str | None:
    """Say whose adapter it is, if it is one of a method of ours and thus none of LoRA."""
    try:
        config = read_object(folder / ADAPTER_CONFIG)
    except DamagedError:  # said elsewhere
        return None
    if config.get("peft_type") == "LORA":  # also of a method that trains one
        return None
    for row in methods("finetuning_type"):
        if row.adapter is not None and load(row.adapter.check)(folder, config):
            return (
                f"adapter_name_or_path={folder} holds a {row.adapter.title} adapter, not one of LoRA; set "
                f"{row.shown}, or name a LoRA adapter"
            )
    return None


def _model_problems(model_args: Any, weights: bool) -> list[str]:
    name, option = model_args.model_name_or_path, f"model_name_or_path={model_args.model_name_or_path}"
    if not str(name).strip():
        return [f"model_name_or_path is empty; {_HERE}"]
    folder = Path(name).expanduser()
    if is_file(folder):
        return [f"{option} is a file; name the folder that holds the model's {folder.name} and config.json"]
    if is_folder(folder):
        return _folder_problems(model_args, folder, "model_name_or_path=", weights=weights)
    if _other_hub():
        return []
    from transformers.utils import cached_file

    try:
        where = {"cache_dir": model_args.cache_dir, "revision": model_args.model_revision}
        cached_file(name, "config.json", token=model_args.hf_hub_token, **where)
    except (OSError, ValueError) as error:
        return [f"{option} cannot be found ({str(error).splitlines()[0]}); {_HERE}"]
    return _config_problems(model_args, option) or (quantizer_problems(model_args, option) if weights else [])


def local_problems(folder: Path) -> list[str]:
    """Return what keeps a training from a local model, in the words of a training command."""
    from llamafactory.hparams import ModelArguments

    return _folder_problems(ModelArguments(model_name_or_path=str(folder)), folder, "", weights=True)


def _folder_problems(model_args: Any, folder: Path, prefix: str, *, weights: bool) -> list[str]:
    option = f"{prefix}{model_args.model_name_or_path}"
    problems = [f"{prefix}{line}" for line in model_problems(folder, weights=weights)]
    problems = problems or _config_problems(model_args, option)
    if weights and not problems:
        problems = quantizer_problems(model_args, option) or _strange_weights(model_args, folder, option)
    return problems


def _config_problems(model_args: Any, option: str) -> list[str]:
    from ...training.skeleton import is_trainable
    from .skeleton import config_of

    try:
        config = config_of(model_args)
    except Exception as error:  # of transformers' and the model's own code
        text = " ".join(str(error).split())[:200]
        return [f"{option}: its config.json cannot be used ({text}); install a newer transformers, or get it again"]
    if is_trainable(config, trusted=bool(model_args.trust_remote_code)):
        return []
    kind = getattr(config, "model_type", type(config).__name__)
    return [f"{option} is a {kind}, which writes no text; name a causal language model"]


def _strange_weights(model_args: Any, folder: Path, option: str) -> list[str]:
    """Return where weights and configuration contradict each other.

    Transformers would begin with random weights, or leave some out, and go on.
    """
    from ...training.skeleton import is_own_code, lost_weights, skeleton, surplus_weights
    from .skeleton import config_of

    config = config_of(model_args)
    own = is_own_code(config) or (model_args.trust_remote_code and getattr(config, "auto_map", None))
    if getattr(config, "quantization_config", None) or own:
        return []  # made by code of their own
    try:
        model = skeleton(config)
    except (ImportError, NotImplementedError):  # a missing package, or no meta device; loading says more
        return []
    except Exception as error:  # of transformers' code, which loading meets too
        text = " ".join(str(error).split())[:200]
        return [
            f"{option}: no model can be made by its config.json ({type(error).__name__}: {text}); get it again, or "
            "install a newer transformers"
        ]
    try:
        found = stored_tensors(folder)
        fault = lost_weights(model, found)
        advice = "get the model again, or set train_from_scratch: true to begin with random weights"
        if not fault:
            fault = surplus_weights(model, found)
            advice = "correct what it says of layers, biases or the model's type, or get the model again"
    except DamagedError:  # said elsewhere
        return []
    return [f"{option}: {fault}; {advice}"] if fault else []


def _adapter_folder(model_args: Any) -> Callable[[str], Path]:
    return lambda name: Path(name).expanduser() / (model_args.adapter_folder or "")


def _adapter_problems(model_args: Any) -> list[str]:
    """Return adapters that are no folders with an adapter; those of a hub are left to PEFT."""
    found = []
    for name in model_args.adapter_name_or_path or []:
        folder = _adapter_folder(model_args)(name)
        looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
        if is_folder(folder):
            problems = adapter_problems(folder) or _changed(folder)
            found += [f"adapter_name_or_path={line}" for line in problems]
        elif is_file(folder):
            found.append(f"adapter_name_or_path={folder} is a file; name the output_dir of a finished run")
        elif looks_local or is_folder(Path(name)):
            found.append(f"adapter_name_or_path={folder} does not exist; name the output_dir of a finished run")
    return found


def _changed(folder: Path) -> list[str]:
    """Return an adapter of a finished run whose files are not those that were saved."""
    try:
        check_adapter(folder)
    except CheckpointError as error:
        return [error.message.rstrip(".")]
    return []


def _dataset_problems(data_args: Any, options: tuple[str, ...], preferences: bool) -> list[str]:
    folder = data_args.dataset_dir
    asked = {option: getattr(data_args, option) or [] for option in options}
    if not any(asked.values()) or not isinstance(folder, str) or folder == "ONLINE" or folder.startswith("REMOTE:"):
        return []
    path = Path(folder)
    if not (path / "dataset_info.json").exists():
        what = "is a file" if path.is_file() else "has no dataset_info.json"
        return [f"dataset_dir={folder} {what}; name the folder that describes your data sets"]
    try:
        known = existing_dataset_info(path, whole=False)
    except DataError as error:
        return [error.message.rstrip(".")]
    problems: list[str] = []
    for option, names in asked.items():
        unusable = {}
        for name in names:
            if not preferences and (kind := _preferences_of(known.get(name))):
                unusable[name] = (
                    f"{option}={name} has {kind} in {path / 'dataset_info.json'} and is for another stage; name a "
                    "data set of whole answers"
                )
        problems += unusable.values()
        problems += dataset_problems(option, [name for name in names if name not in unusable], known, path)
    return problems


def _preferences_of(entry: Any) -> str | None:
    """Return what says that an entry holds preferences between answers; None where it holds plain ones."""
    if not isinstance(entry, dict):
        return None
    columns = entry.get("columns")
    if isinstance(columns, dict) and columns.get("kto_tag"):
        return "kto_tag"
    return "ranking: true" if entry.get("ranking") else None


def _other_hub() -> bool:
    return any(os.environ.get(hub, "").lower() in ("1", "true", "y") for hub in OTHER_HUBS)
