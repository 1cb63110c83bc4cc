"""What a folder of a model or of an adapter lacks, seen without loading it: one sentence each, with the next step."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# Files by one of which transformers finds a tokenizer; others end in these letters.
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "tekken.json")
_TOKENIZER_ENDS = (".model", ".tiktoken", ".spm")
# Files of a run, by which its folder is known, and files that every run writes.
_RUNS = {
    "manifest.json",
    "tl_report.json",
    "report.json",
    "trainer_log.jsonl",
    "trainer_state.json",
    "all_results.json",
}
_RUNS |= {"importance.json", "training_args.bin", "train_results.json", "data_report.json"}
_OF_RUNS = ("checkpoint-", "phase-", ".llamafactory_ext")
_WRITTEN = {"README.md", "config.json", "adapter_config.json", "generation_config.json", "chat_template.jinja"}
_WRITTEN |= {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"}
_HEADER_MAX = 100_000_000


class DamagedError(ValueError):
    """A file that is not what its name says; the text says why."""


def model_problems(folder: Path, *, weights: bool = True) -> list[str]:
    """Say what keeps a local folder from being loaded as a model.

    Args:
        folder: that `model_name_or_path` names.
        weights: whether it must hold weights.
    """
    if not (folder / CONFIG).is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            base = _named_base(folder)
            return [
                f"{folder} is an adapter, not a model; name its base"
                f"{f' ({base})' if base else ''} in model_name_or_path, and it in adapter_name_or_path"
            ]
        return [f"{folder} has no {CONFIG}; correct the path, or name a model of the Hugging Face hub"]
    try:
        config = read_object(folder / CONFIG)
    except DamagedError as error:
        return [f"{folder / CONFIG} {error}; get the model again"]
    if not isinstance(config.get("model_type"), str):
        return [f"{folder / CONFIG} has no model_type; get the model again"]
    return (_weight_problems(folder) if weights else []) + _tokenizer_problems(folder)


def adapter_problems(folder: Path) -> list[str]:
    """Say what keeps a local folder from being loaded as an adapter."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return [f"{folder} has no {ADAPTER_CONFIG}; name the output_dir of a finished run"]
    try:
        config = read_object(folder / ADAPTER_CONFIG)
    except DamagedError as error:
        return [f"{folder / ADAPTER_CONFIG} {error}; name another checkpoint"]
    kind = config.get("peft_type")
    if kind not in _peft_types():
        return [f"{folder / ADAPTER_CONFIG}: PEFT knows no adapter of the kind {kind!r}; install a newer peft"]
    found = [folder / name for name in _ADAPTER_WEIGHTS if (folder / name).is_file()]
    if not found:
        return [f"{folder} has no {_ADAPTER_WEIGHTS[0]}; the run has not finished, name another checkpoint"]
    return [f"{file} {fault}; name another checkpoint" for file in found[:1] if (fault := weights_fault(file))]


def weights_fault(file: Path) -> str | None:
    """Why a file of safetensors cannot be whole, by its header and size; None if it can."""
    if file.suffix != ".safetensors":
        return None
    try:
        read_header(file)
    except DamagedError as error:
        return str(error)
    return None


def read_header(file: Path) -> dict[str, Any]:
    """Return the names, types and shapes of the tensors of a file, by its header alone.

    Raises:
        DamagedError: the header is damaged, or the file is shorter or longer than it says.
    """
    try:
        with file.open("rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            if not 0 < size < _HEADER_MAX:
                raise DamagedError("is no file of safetensors (are its contents a link of git-lfs?)")
            raw = handle.read(size)
        header = json.loads(raw)
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise DamagedError("has a damaged header") from None
    expected, found = 8 + size + max(ends, default=0), file.stat().st_size
    if found != expected:
        raise DamagedError(f"has {found:,} bytes instead of {expected:,}, so it is not whole")
    header.pop("__metadata__", None)
    return dict(header)


def stored_tensors(folder: Path) -> dict[str, Any]:
    """Return names, types and shapes of all tensors of a local model, by the headers of its files of safetensors.

    Raises:
        DamagedError: a file cannot be read.
    """
    if (folder / _SAFE[0]).is_file():
        return read_header(folder / _SAFE[0])
    if not (folder / _SAFE[1]).is_file():
        return {}
    shards = read_object(folder / _SAFE[1]).get("weight_map")
    names = dict.fromkeys(shards.values()) if isinstance(shards, dict) else ()
    return {name: facts for file in names for name, facts in read_header(folder / str(file)).items()}


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        DamagedError: it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"is no JSON ({str(error)[:100]})") from None
    if not isinstance(value, dict):
        raise DamagedError("holds no JSON object")
    return value


def output_problem(path: str) -> str | None:
    """Why a run cannot write into a folder, in words; None if it can. Nothing is left behind."""
    if not path.strip():
        return "output_dir is empty; name a folder"
    folder = Path.cwd() / Path(path).expanduser()
    advice = "choose another folder"
    try:
        there = next(parent for parent in (folder, *folder.parents) if _is_there(parent))
        if not there.is_dir():
            what = "is a file" if there == folder else f"lies below {there}, which is a file"
            return f"output_dir={path} {what}; {advice}"
        probe = there / f".llamafactory_ext.{os.getpid()}.probe"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"output_dir={path} cannot be written to ({error.strerror}); {advice}, or check its permissions"
    return None


def foreign_output(path: str) -> str | None:
    """Why a run would change files of somebody else in its folder, in words; None if it would not."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return None
    names = {entry.name for entry in folder.iterdir()}
    if names & _RUNS or any(name.startswith(_OF_RUNS) for name in names):
        return None
    mine = sorted(name for name in names if name in _WRITTEN or name.endswith((".safetensors", ".bin")))
    if not mine:
        return None
    return (
        f"output_dir={path} holds {', '.join(mine[:3])} and is no folder of a run; name a new folder, or "
        "set overwrite_output_dir: true to have such files replaced"
    )


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _weight_problems(folder: Path) -> list[str]:
    advice = "get the model again, or set train_from_scratch: true to begin with random weights"
    named = next((name for name in (*_SAFE, *_PICKLED) if (folder / name).is_file()), None)
    if named is None:
        return [f"{folder} has no weights ({_SAFE[0]}); {advice}"]
    files = [folder / named]
    if named.endswith(".index.json"):
        try:
            shards = read_object(folder / named)["weight_map"]
            files = [folder / str(name) for name in dict.fromkeys(shards.values())]
        except DamagedError as error:
            return [f"{folder / named} {error}; {advice}"]
        except (KeyError, AttributeError):
            return [f"{folder / named} has no weight_map; {advice}"]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        return [f"{folder} lacks {', '.join(missing[:3])} of its weights; {advice}"]
    return [f"{file} {fault}; {advice}" for file in files if (fault := weights_fault(file))]


def _tokenizer_problems(folder: Path) -> list[str]:
    names = [file.name for file in folder.iterdir() if file.is_file()]
    if not any(name in _TOKENIZERS or name.endswith(_TOKENIZER_ENDS) for name in names):
        return [f"{folder} has no tokenizer (tokenizer.json); copy the files of the model's tokenizer into it"]
    for name in ("tokenizer_config.json", "tokenizer.json"):
        if name in names:
            try:
                read_object(folder / name)
            except DamagedError as error:
                return [f"{folder / name} {error}, so the tokenizer cannot be loaded; get the model again"]
    return []


def _named_base(folder: Path) -> str:
    try:
        return str(read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    except DamagedError:
        return ""


def _peft_types() -> Mapping[str, Any]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {str(getattr(kind, "value", kind)): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
