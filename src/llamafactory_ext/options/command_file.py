"""The file of a command and the words after it: what is wrong with them, before anything else is read.

LLaMA-Factory reads a file of options and lets words `name=value` overrule it. Here both are looked at first, so that
what cannot be read is named with its file and line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

SUFFIXES = (".yaml", ".yml", ".json")
CHECKS = "LLAMAFACTORY_EXT_CHECKS"
_DROPPED = re.compile(r"~\w+")
_NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
_WORD = re.compile(r"[\w.\[\]-]+=")


def checks_asked() -> bool:
    """Return whether whoever started this command wants our checks for methods that are not ours, too."""
    return os.environ.get(CHECKS, "").lower() in ("1", "true", "yes")


def names_a_file(words: Sequence[str]) -> bool:
    """Return whether the first word of a command is a file of options, as upstream decides it."""
    return bool(words) and words[0].endswith(SUFFIXES)


def file_problems(path: Path) -> list[str]:
    """Say why a file of options cannot be read; each sentence has the next step."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        near = _near(path)
        return [f"{path} does not exist; " + (f"did you mean {near}?" if near else "correct the path of the file")]
    except IsADirectoryError:
        return [f"{path} is a folder; name a YAML file in it"]
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror}); check the path and its permissions"]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return [f"{path}, line {line}: not UTF-8; save the file as UTF-8"]
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        return [_malformed(path, error)]
    except (yaml.YAMLError, RecursionError) as error:
        return [f"{path} is no YAML ({' '.join(str(error).split())[:160]}); mend the file"]
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "one text"
        return [f"{path} holds {kind}; write one option per line, as name: value"]
    return _nameless(path, node) or _twice(path, node) + _nested(path, node)


def word_problems(words: Sequence[str]) -> list[str]:
    """Say which words after a file are not of the form name=value."""
    problems, skipped = [], False
    for number, word in enumerate(words):
        name = word.lstrip("-").partition("=")[0]
        if skipped:
            skipped = False
        elif _DROPPED.fullmatch(word):
            continue
        elif word.startswith("~"):
            problems.append(f"{word}: after a file, ~name takes an option of it out; write a name and nothing else")
        elif word.startswith("="):
            problems.append(f"{word}: no name stands before the equals sign; write name{word}, or remove the word")
        elif _WORD.match(word) and not word.startswith("-"):
            problems += _value_problems(word)
        else:
            value = words[number + 1] if number + 1 < len(words) and "=" not in words[number + 1] else ""
            given = word.partition("=")[2] or value
            skipped = bool(value) and "=" not in word
            shown = f"{word} {value}" if skipped else word
            problems.append(f"{shown}: after a file, options are written name=value; write {name}={given or 'VALUE'}")
    return problems


def _value_problems(word: str) -> list[str]:
    """Say why the value of a word is none; it is read as YAML."""
    name, _, value = word.partition("=")
    try:
        node = yaml.compose(value, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        why = getattr(error, "problem", None) or "malformed"
        return [f"{word}: {why}; mend the value, or put it in quotes: '{name}=\"...\"'"]
    tags = {node.tag} if isinstance(node, yaml.ScalarNode) else set()
    if any(not tag.startswith("tag:yaml.org,2002:") for tag in tags):
        return [f"{word}: {value} is a tag of YAML, not a value; put the value in quotes"]
    return []


def dropped_names(words: Sequence[str]) -> list[str]:
    """Return the options that words such as `~seed` take out of the file."""
    return [word[1:] for word in words if _DROPPED.fullmatch(word)]


def as_typed(words: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with names and paths as their words have them, where YAML took 007 or 1e3 for a number."""
    typed = dict(word.partition("=")[::2] for word in words if "${" not in word)  # which OmegaConf has filled in
    return {
        name: typed[name] if name in _TEXTS and name in typed and type(value) in (int, float) else value
        for name, value in options.items()
    }


def left_over(
    file: Mapping[str, Any], given: Mapping[str, Any], acts: Callable[[str, Mapping[str, Any]], bool]
) -> tuple[list[str], str]:
    """Find the options of a file that belong to the method that words of the command have replaced.

    Args:
        file: what the file says.
        given: what the words say.
        acts: whether an option has an effect beside others; options of no method have.

    Returns:
        Their names, and the word that replaced the method, such as `finetuning_type=lora`.
    """
    merged = {**file, **given}
    replaced = [
        f"{name}={given[name]}"
        for name in ("finetuning_type", "stage")
        if name in given and str(given[name]) != str(file.get(name))
    ]
    names = [name for name in file if name not in given and acts(name, file) and not acts(name, merged)]
    return (names if replaced else []), " ".join(replaced)


def _near(path: Path) -> str:
    from difflib import get_close_matches

    try:
        names = [file.name for file in path.parent.iterdir() if file.suffix in SUFFIXES]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1)
    return str(path.with_name(close[0])) if close else ""


def _malformed(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f", line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""
    why = error.problem or error.context or "malformed"
    return f"{path}{where}: malformed YAML ({why}); mend the line, each option being name: value"


def _nameless(path: Path, node: yaml.MappingNode) -> list[str]:
    """Find keys that YAML takes for numbers, dates, switches or lists: no option has such a name."""
    return [
        f"{path}, line {key.start_mark.line + 1}: {_shown(key)} is no name of an option; write name: value"
        for key, _ in node.value
        if not (isinstance(key, yaml.ScalarNode) and key.tag in _NAMES and str(key.value).strip())
    ]


def _shown(key: yaml.Node) -> str:
    return repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or a mapping"


def _twice(path: Path, node: yaml.MappingNode) -> list[str]:
    lines: dict[str, list[int]] = {}
    for key, _ in node.value:
        lines.setdefault(str(key.value), []).append(key.start_mark.line + 1)
    return [
        f"{path}: {name} stands there twice, in lines {', '.join(map(str, found))}; keep one of them"
        for name, found in lines.items()
        if len(found) > 1
    ]


def _nested(path: Path, node: yaml.MappingNode) -> list[str]:
    """Find options that stand below a heading, which would take the heading for an option."""
    return [
        f"{path}, line {key.start_mark.line + 1}: {key.value} is followed by options of LLaMA-Factory; write these "
        "without indentation, and remove the heading"
        for key, value in node.value
        if isinstance(value, yaml.MappingNode) and any(str(inner.value) in _COMMON for inner, _ in value.value)
    ]


# Options that no mapping of LLaMA-Factory's own holds: whoever finds them below another name meant a heading.
_COMMON = frozenset(
    {
        "model_name_or_path",
        "stage",
        "do_train",
        "finetuning_type",
        "dataset",
        "template",
        "cutoff_len",
        "output_dir",
        "learning_rate",
        "num_train_epochs",
        "per_device_train_batch_size",
        "seed",
    }
)
# Options of LLaMA-Factory that are names or paths.
_TEXTS = frozenset(
    {
        *("model_name_or_path", "adapter_name_or_path", "adapter_folder", "cache_dir", "hub_model_id", "export_dir"),
        *("export_hub_model_id", "template", "dataset", "eval_dataset", "dataset_dir", "media_dir", "tokenized_path"),
        *("output_dir", "run_name", "logging_dir", "resume_from_checkpoint", "save_name"),
    }
)
