"""The values of an entry of dataset_info.json: what upstream's loader stumbles over, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..paths import can_be_named, exists

CLOUDS = ("s3://", "gs://", "gcs://")
REMOTE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_names(value: Any) -> bool:
    return isinstance(value, Mapping) and all(name is None or isinstance(name, str) for name in value.values())


_TAKES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_samples": (_is_count, "write a whole number from 1 up, or remove it"),
    "ranking": (lambda value: value in (True, False), "write true or false, or remove it"),
    "split": (_is_text, 'write the name of a split, such as "train"'),
    "subset": (_is_text, "write the name of a subset, or remove it"),
    "folder": (_is_text, "write the name of a folder, or remove it"),
    "columns": (_are_names, 'write an object of texts, such as {"prompt": "instruction", "response": "output"}'),
    "tags": (_are_names, 'write an object of texts, such as {"role_tag": "from", "content_tag": "value"}'),
    **dict.fromkeys(REMOTE, (_is_text, "write an address as text, or remove it")),
}
_MAY_BE_NULL = ("num_samples", "ranking", "subset", "folder")


def entry_faults(entry: Mapping[str, Any], folder: Path) -> list[str]:
    """Say what values of an entry cannot be used, each with the next step.

    Args:
        entry: of dataset_info.json.
        folder: of that file.
    """
    faults = []
    for name, (is_right, advice) in _TAKES.items():
        if name in entry and not is_right(entry[name]) and not (name in _MAY_BE_NULL and entry[name] is None):
            faults.append(f"{name} is {_short(entry[name])}; {advice}")
    file_name = entry.get("file_name")
    if isinstance(file_name, str) and not can_be_named(folder / file_name):
        faults.append(f"file_name is {_short(file_name)}, which no disk takes; write the name of the data file")
    cloud, script = entry.get("cloud_file_name"), entry.get("script_url")
    if _is_text(cloud) and not str(cloud).startswith(CLOUDS):
        faults.append(
            f"cloud_file_name is {_short(cloud)}; write an address that begins with {CLOUDS[0]} or {CLOUDS[1]}"
        )
    if _is_text(script) and not exists(folder / str(script)):
        faults.append(f"script_url names {folder / str(script)}, which does not exist; correct the path")
    return faults


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
