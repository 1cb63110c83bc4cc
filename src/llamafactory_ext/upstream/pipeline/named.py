"""Names in a command that stand for nothing: base model, template, data sets, adapters."""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

OTHER_HUBS = ("USE_MODELSCOPE_HUB", "USE_OPENMIND_HUB")


def unknown_names(model_args: Any, data_args: Any, *, datasets: bool, preferences: bool = True) -> list[str]:
    """Return a sentence for each name that cannot be found.

    Args:
        model_args: upstream's group of the options.
        data_args: likewise.
        datasets: whether `dataset` and `dataset_dir` are looked at too; citi reads its training data itself.
        preferences: whether data sets of preferences can be used.
    """
    from llamafactory.data.template import TEMPLATES
    from llamafactory.data.tool_utils import TOOLS

    problems = [problem] if (problem := _model_problem(model_args)) else []
    problems += _adapter_problems(model_args)
    name = data_args.template
    if name is not None and name not in TEMPLATES:
        similar = get_close_matches(name, TEMPLATES, n=3)
        advice = f"did you mean {' or '.join(similar)}?" if similar else "see LLaMA-Factory's list of models"
        problems.append(f"template={name} does not exist; {advice}")
    name = data_args.tool_format
    if name is not None and name not in TOOLS:
        problems.append(f"tool_format={name} does not exist; take one of {', '.join(TOOLS)}")
    options = ("dataset", "eval_dataset") if datasets else ("eval_dataset",)
    return problems + _dataset_problems(data_args, options, preferences)


def _model_problem(model_args: Any) -> str | None:
    from transformers.utils import cached_file

    name = model_args.model_name_or_path
    advice = "correct the path, or name a model of the Hugging Face hub that can be reached from here"
    if Path(name).expanduser().is_dir():
        found = (Path(name).expanduser() / "config.json").is_file()
        return None if found else f"model_name_or_path={name} has no config.json; {advice}"
    if _other_hub():
        return None
    try:
        where = {"cache_dir": model_args.cache_dir, "revision": model_args.model_revision}
        cached_file(name, "config.json", token=model_args.hf_hub_token, **where)
    except (OSError, ValueError) as error:
        return f"model_name_or_path={name} cannot be found ({str(error).splitlines()[0]}); {advice}"
    return None


def _adapter_problems(model_args: Any) -> list[str]:
    """Adapters that are folders without an adapter; those of a hub are left to PEFT."""
    found = []
    for name in model_args.adapter_name_or_path or []:
        folder = Path(name).expanduser() / (model_args.adapter_folder or "")
        looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
        if folder.is_dir() and not (folder / "adapter_config.json").is_file():
            found.append(
                f"adapter_name_or_path={name} has no adapter_config.json; name the output_dir of a finished run"
            )
        elif not folder.is_dir() and (looks_local or Path(name).is_dir()):
            found.append(f"adapter_name_or_path={folder} does not exist; name the output_dir of a finished run")
    return found


def _dataset_problems(data_args: Any, options: tuple[str, ...], preferences: bool) -> list[str]:
    folder = data_args.dataset_dir
    asked = {option: getattr(data_args, option) or [] for option in options}
    if not any(asked.values()) or not isinstance(folder, str) or folder == "ONLINE" or folder.startswith("REMOTE:"):
        return []
    path = Path(folder) / "dataset_info.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError:
        return [f"dataset_dir={folder} has no dataset_info.json; name the folder that describes your data sets"]
    except ValueError as error:
        return [f"{path} is no JSON ({error}); mend it"]
    problems = []
    for option, names in asked.items():
        for name in names:
            if isinstance(known, dict) and name not in known:
                near = get_close_matches(name, known, n=1)
                advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known)[:10])}"
                problems.append(f"{option}={name} is not in {path}; {advice}")
            elif isinstance(known, dict) and not preferences and (kind := _preferences_of(known[name])):
                problems.append(
                    f"{option}={name} has {kind} in {path} and is for another stage; name a data set of whole answers"
                )
    return problems


def _preferences_of(entry: Any) -> str | None:
    """What says that an entry holds preferences between answers; None where it holds plain ones."""
    if not isinstance(entry, dict):
        return None
    columns = entry.get("columns")
    if isinstance(columns, dict) and columns.get("kto_tag"):
        return "kto_tag"
    return "ranking: true" if entry.get("ranking") else None


def _other_hub() -> bool:
    return any(os.environ.get(hub, "").lower() in ("1", "true", "y") for hub in OTHER_HUBS)
