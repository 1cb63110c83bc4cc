"""What a folder of a model or of an adapter lacks, seen without loading it: one sentence each, with the next step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .weight_files import DamagedError, read_object, weight_problems, weights_fault

CONFIG, ADAPTER_CONFIG, GENERATION = "config.json", "adapter_config.json", "generation_config.json"
_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
# What configurations count, and the most that any model has: more would take hours or all memory to build.
_COUNTS = {r"(\w*_)?layers?|depth": 1_000, r"(num|n)_\w*(heads|experts)": 10_000, "num_labels": 1_000_000}
_DTYPES = ("dtype", "torch_dtype")
_DTYPE = re.compile(r"(torch\.)?(auto|half|double|b?float(16|32|64|8_\w+)?)")
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
    problems = odd_numbers(folder, config) + _odd_tokens(folder) + _generation_problems(folder)
    problems += weight_problems(folder, f"get the model again{SCRATCH}") if weights else []
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


def odd_numbers(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return numbers of a configuration that no model has; none of them needs a library to be seen.

    Args:
        folder: of the model.
        config: the content of its config.json.
    """
    file = folder / CONFIG
    inner = config.get("text_config")
    parts = [config, *([inner] if isinstance(inner, Mapping) else [])]
    found = [f"{name} is {part[name]}" for part in parts for name in _SIZES if _is_low(part.get(name))]
    found += [
        f"{name} is {part[name]!r:.60}, no number type"
        for part in parts
        for name in _DTYPES
        if not _is_dtype(part.get(name))
    ]
    for name, value in _numbers(config):
        most = next((most for kind, most in _COUNTS.items() if re.fullmatch(kind, name.rpartition(".")[2])), None)
        if value != value:
            found.append(f"{name} is NaN")
        elif most is not None and value > most:
            found.append(f"{name} is {value:.6g}, and no model has more than {most:,}")
    return [f"{file}: {fault}; get the model again" for fault in dict.fromkeys(found)]


def _is_low(value: Any) -> bool:
    return isinstance(value, int) and value < 1


def _is_dtype(value: Any) -> bool:
    """Tell whether transformers finds a number type by a value; composite models have one for each part."""
    if isinstance(value, Mapping):
        return all(_is_dtype(part) for part in value.values())
    return value is None or (isinstance(value, str) and _DTYPE.fullmatch(value) is not None)


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int | float]]:
    """Yield the numbers of a configuration with their names; parts have names with a dot."""
    waiting: list[tuple[str, Any]] = [("", config)]  # no recursion: a file may be nested as deep as it likes
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{name}.{key}".lstrip("."), part) for key, part in reversed(list(value.items()))]
        elif isinstance(value, list):
            waiting += [(name, part) for part in reversed(value)]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def _odd_tokens(folder: Path) -> list[str]:
    """Return ends of texts that are no tokens."""
    try:
        generation = read_object(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    except DamagedError:  # transformers does without it
        generation = {}
    return [
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
