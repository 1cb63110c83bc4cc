"""Which model answers: the hash of its files, so that answers of two models are never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...checkpoint.folders import SEAL
from ...checkpoint.model_folder import SCRATCH as _SCRATCH
from ...checkpoint.model_folder import adapter_problems, model_problems
from ...errors import CheckpointError, OptionError

_COUNTED = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin")
_NOT_COUNTED = ("report.json", "trainer_state.json", "manifest.json", "all_results.json", "train_results.json", SEAL)
_CHUNK = 1 << 24


def model_folder(model: str) -> Path:
    """Return the folder of a local model.

    Raises:
        OptionError: no folder.
        CheckpointError: a folder without a model.
    """
    folder = Path(model)
    if not folder.is_dir():
        raise OptionError(f"--model {model}: there is no such folder; name the folder of a model or of an adapter")
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise CheckpointError(
            f"{folder} has neither config.json nor adapter_config.json; name the folder of a model or of an adapter."
        )
    return folder


def check_files(folder: Path) -> None:
    """Make sure that a model's or adapter's files can be loaded, as far as they show it unloaded.

    Raises:
        CheckpointError: with a line for each fault.
    """
    is_adapter = (folder / "adapter_config.json").is_file()
    problems = adapter_problems(folder) if is_adapter else model_problems(folder, tokenizer=False)
    if problems:
        raise CheckpointError("\n".join(f"{problem.replace(_SCRATCH, '')}." for problem in problems))


def adapter_base(folder: Path) -> str | None:
    """Return the base model of an adapter's folder as its configuration names it; None for a whole model."""
    config = folder / "adapter_config.json"
    if not config.is_file():
        return None
    try:
        base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{config} cannot be read ({error}); the adapter is damaged, use another.") from None
    return str(base or "")


def files_hash(folder: Path) -> str:
    """Return SHA-256 over the names and contents of what a model consists of: weights, configuration, tokenizer.

    What training leaves beside them (logs, reports, optimiser states) does not count, nor does the folder's name.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.suffix not in _COUNTED or file.name in _NOT_COUNTED:
            continue
        inner = hashlib.sha256()
        with file.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                inner.update(chunk)
        digest.update(f"{file.name}\n{inner.hexdigest()}\n".encode())
    return digest.hexdigest()


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the `model_hash` of records: over the model's hash and everything else that answers depend on."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
