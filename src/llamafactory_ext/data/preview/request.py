"""What `data preview` is asked for, and who encodes examples for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from llamafactory_ext.errors import DataError

from ...methods import load, methods
from ...options.groups import belongs
from ..entries import Dialogue
from ..message_parts import Words
from .pieces import Weighed

# Options of a training YAML, besides those that are fields of `Request`, that decide what is learned of an example.
DATA_OPTIONS = ("train_on_prompt", "mask_history", "tool_format", "default_system", "enable_thinking")
STAGES = ("sft", *(row.name for row in methods("stage") if row.weigher))
_LEAST = {"index": 0, "count": 1, "cutoff_len": 1}


@dataclass(frozen=True)
class Request:
    """What to show; checked by `preview`.

    Attributes:
        names: files, or names in `dataset_dir`/dataset_info.json.
        model: folder with the tokenizer.
        index: number of the first record shown, from 0, in each file.
        count: how many records of each file.
        stage: "sft", or the name of a stage of ours that weighs tokens.
        options: of `DATA_OPTIONS`, as in a training YAML.
        tl_options: those of a training YAML that are of the stage.
    """

    names: tuple[str, ...]
    model: str
    template: str
    dataset_dir: str = "data"
    cutoff_len: int = 2048
    index: int = 0
    count: int = 3
    stage: str = "sft"
    options: Mapping[str, Any] = field(default_factory=dict)
    tl_options: Mapping[str, Any] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Return what cannot be, in words."""
        found = []
        if not self.names:
            found.append("name a file, or a data set of dataset_info.json, or --yaml with a dataset")
        if not self.template:
            found.append("--template is missing; give the template of the run, for example llama3")
        if not self.model:
            found.append("--model is missing; name the folder with the tokenizer")
        if self.stage not in STAGES:
            found.append(f'stage is "{self.stage}"; --stage takes {" or ".join(STAGES)}: others weigh no tokens')
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                found.append(f"--{name} is {value!r}; give a whole number of at least {least}")
        return found


class Encoder(Protocol):
    """What `upstream/pipeline/previewing.py` makes of a request."""

    special: frozenset[int]
    words: Words

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids, special tokens included."""

    def weigh(self, dialogue: Dialogue) -> Weighed:
        """Return ids and weights of one example.

        Raises:
            DataError: it cannot be rendered, or the method cannot use it.
        """


def from_yaml(path: Path) -> Request:
    """Return what a training YAML says of its data; what it leaves out is empty or the default.

    Raises:
        DataError: no such file, or no YAML of options.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--yaml {path} cannot be read ({error.strerror}); check the path.") from None
    except RecursionError:
        raise DataError(f"--yaml {path} is no YAML of options: it is nested too deeply; mend it.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"--yaml {path} is no YAML ({' '.join(str(error).split())}); mend it.") from None
    if not isinstance(read, Mapping):
        raise DataError(f"--yaml {path} holds no options; name a training YAML, as under examples/yaml.")
    stage = str(read.get("stage") or "sft")
    kinds = [load(row.arguments) for row in methods("stage") if row.weigher]
    names = read.get("dataset") or ""
    parts = names if isinstance(names, list) else str(names).split(",")
    return Request(
        names=tuple(str(part).strip() for part in parts if str(part).strip()),
        model=str(read.get("model_name_or_path") or ""),
        template=str(read.get("template") or ""),
        dataset_dir=str(read.get("dataset_dir") or "data"),
        cutoff_len=read.get("cutoff_len", 2048),
        stage=stage,
        options={name: read[name] for name in DATA_OPTIONS if read.get(name) is not None},
        tl_options={name: value for name, value in read.items() if any(belongs(str(name), kind) for kind in kinds)},
    )
