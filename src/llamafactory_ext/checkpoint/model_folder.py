"""What a folder of a model or of an adapter lacks, seen without loading it: one sentence each, with the next step."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG, ADAPTER_CONFIG, GENERATION = "config.json", "adapter_config.json", "generation_config.json"
_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# Files by one of which transformers finds a tokenizer; others end in these letters.
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "tekken.json")
_TOKENIZER_ENDS = (".model", ".tiktoken", ".spm")
# Files of a run, by which its folder is known, and files that every run writes.
SCRATCH = ", or set train_from_scratch: true to begin with random weights"
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
_LFS = b"version https://git-lfs"
_HEADER_MAX = 100_000_000


class DamagedError(ValueError):
    """A file that is not what its name says; the text says why."""


def model_problems(folder: Path, *, weights: bool = True, tokenizer: bool = True) -> list[str]:
    """Say what keeps a local folder from being loaded as a model.

    Args:
        folder: that `model_name_or_path` names.
        weights: whether it must hold weights.
        tokenizer: whether it must hold a tokenizer.
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
    problems = _odd_numbers(folder, config) + _generation_problems(folder)
    problems += _weight_problems(folder) if weights else []
    return problems + (_tokenizer_problems(folder) if tokenizer else [])


def _generation_problems(folder: Path) -> list[str]:
    """Say what is wrong with the file of the generation's defaults, which a model need not have."""
    file = folder / GENERATION
    if not file.is_file():
        return []
    try:
        read_object(file)
    except DamagedError as error:
        return [f"{file} {error}; delete it, or get the model again"]
    return []


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
    """Say why a file of weights cannot be whole, by its header and size, or by its pickle; None if it can."""
    try:
        read_header(file) if file.suffix == ".safetensors" else read_pickle(file)
    except DamagedError as error:
        return str(error)
    return None


def read_pickle(file: Path) -> dict[str, Any]:
    """Return the names and shapes of the tensors of a file of torch's, whose values are not read.

    Raises:
        DamagedError: the file is damaged, or holds something else.
    """
    import torch

    try:
        with file.open("rb") as handle:
            begin = handle.read(len(_LFS))
        if begin == _LFS:
            raise DamagedError("is a link of git-lfs, not the weights (git lfs pull)")
        found = torch.load(file, map_location="meta", weights_only=True)
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except DamagedError:
        raise
    except Exception:  # of torch's and pickle's many kinds
        raise DamagedError("is no file of torch's weights, or is not whole") from None
    if not isinstance(found, dict):
        raise DamagedError("holds no tensors by name")
    return {str(name): {"shape": list(weight.shape)} for name, weight in found.items() if hasattr(weight, "shape")}


def read_header(file: Path) -> dict[str, Any]:
    """Return the names, types and shapes of the tensors of a file, by its header alone.

    Raises:
        DamagedError: the header is damaged, or the file is shorter or longer than it says.
    """
    try:
        with file.open("rb") as handle:
            begin = handle.read(len(_LFS))
            if begin == _LFS:
                raise DamagedError("is a link of git-lfs, not the weights (git lfs pull)")
            size = int.from_bytes(begin[:8], "little")
            if not 0 < size < _HEADER_MAX:
                raise DamagedError("is no file of safetensors")
            handle.seek(8)
            raw = handle.read(size)
        header = json.loads(raw)
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except DamagedError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise DamagedError("has a damaged header") from None
    expected, found = 8 + size + max(ends, default=0), file.stat().st_size
    if found != expected:
        raise DamagedError(f"has {found:,} bytes instead of {expected:,}, so it is not whole")
    header.pop("__metadata__", None)
    return dict(header)


def stored_tensors(folder: Path) -> dict[str, Any]:
    """Return names and shapes of all tensors of a local model; of safetensors by the headers of its files.

    Raises:
        DamagedError: a file cannot be read.
    """
    for read, (whole, index) in ((read_header, _SAFE), (read_pickle, _PICKLED)):
        if (folder / whole).is_file():
            return read(folder / whole)
        if (folder / index).is_file():
            shards = read_object(folder / index).get("weight_map")
            names = dict.fromkeys(shards.values()) if isinstance(shards, dict) else ()
            return {name: facts for file in names for name, facts in read(folder / str(file)).items()}
    return {}


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
    """Say why a run cannot write into a folder, in words; None if it can. Nothing is left behind."""
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
    """Say why a run would change files of somebody else in its folder, in words; None if it would not."""
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
    advice = f"get the model again{SCRATCH}"
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
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"):
        if name in names:
            try:
                read_object(folder / name)
                fault = _pieces_fault(folder / name) if name == "tokenizer.json" else ""
            except DamagedError as error:
                fault = str(error)
            if fault:
                return [f"{folder / name} {fault}, so the tokenizer cannot be loaded; get the model again"]
    return []


def _pieces_fault(file: Path) -> str:
    """Say why a file holds no tokenizer, in words; nothing where it does, or where nothing here can tell."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return ""
    try:
        Tokenizer.from_file(str(file))
    except Exception as error:  # the package has no kind of its own
        return f"holds no tokenizer ({' '.join(str(error).split())[:100]})"
    return ""


def _odd_numbers(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return sizes below 1, which make a model without layers, and ends of texts that are no tokens."""
    inner = config.get("text_config")
    parts = [config, *([inner] if isinstance(inner, Mapping) else [])]
    low = [
        f"{folder / CONFIG}: {name} is {part[name]}; get the model again"
        for part in parts
        for name in _SIZES
        if isinstance(part.get(name), int) and part[name] < 1
    ]
    try:
        generation = read_object(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    except DamagedError:  # transformers does without it
        generation = {}
    return low + [
        f"{folder / GENERATION}: {name} is {generation[name]!r}, no token; correct it, or get the model again"
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        if not _are_tokens(generation.get(name))
    ]


def _are_tokens(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return value is None or all(isinstance(one, int) and not isinstance(one, bool) for one in values)


def _named_base(folder: Path) -> str:
    try:
        return str(read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    except DamagedError:
        return ""


def _peft_types() -> Mapping[str, Any]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {str(getattr(kind, "value", kind)): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
