"""`data preview`: what the model really sees of a data set's examples, and what it learns from each token.

Examples are encoded by upstream's own processor and a template, so that what is shown is what is trained. For the
terminal see `terminal.py`, for a web page or LLaMA Board `html.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import yaml

from llamafactory_ext.errors import DataError, OptionError

from ..dialogues import order_fault
from ..entries import DataEntry, Dialogue
from ..files.writing import atomic_text, make_folder
from .html import preview_html
from .pieces import Example, Weighed, pieces_of

# Options of a training YAML, besides those that are fields of `Request`, that decide what is learned of an example.
DATA_OPTIONS = ("train_on_prompt", "mask_history", "tool_format", "default_system", "enable_thinking")
STAGES = ("sft", "tl_sft")
_LEAST = {"index": 0, "count": 1, "cutoff_len": 1}


@dataclass(frozen=True)
class Request:
    """What to show; checked by `preview`.

    Attributes:
        names: files, or names in `dataset_dir`/dataset_info.json.
        model: folder with the tokenizer.
        index: number of the first record shown, from 0, in each file.
        count: how many records of each file.
        stage: "sft", or "tl_sft" for the weights of TL-Training.
        options: of `DATA_OPTIONS`, as in a training YAML.
        tl_options: those of a training YAML that begin with tl_.
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
        """What cannot be, in words."""
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

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens included."""

    def weigh(self, dialogue: Dialogue) -> Weighed:
        """Ids and weights of one example.

        Raises:
            DataError: it cannot be rendered, or the method cannot use it.
        """


def preview(request: Request) -> list[Example]:
    """The examples asked for, each with its tokens or with why it has none.

    Raises:
        OptionError: impossible options, all at once.
        DataError: no such file, entry or record, or malformed JSON.
    """
    problems = request.problems()
    if problems:
        raise OptionError.listing("data preview:", problems)
    entries = [DataEntry.found(name, Path(request.dataset_dir)) for name in request.names]
    from ...upstream.pipeline.previewing import WeighingEncoder  # only now: LLaMA-Factory takes seconds to load

    encoder = WeighingEncoder(request)
    return [example for entry in entries for example in _examples(entry, request, encoder)]


def write_preview(path: Path, examples: list[Example], title: str) -> None:
    """Write the examples as a web page of its own, whole or not at all."""
    make_folder(path.parent)
    with atomic_text(path) as handle:
        handle.write(preview_html(examples, title))


def from_yaml(path: Path) -> Request:
    """What a training YAML says of its data; what it leaves out is empty or the default.

    Raises:
        DataError: no such file, or no YAML of options.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--yaml {path} cannot be read ({error.strerror}); check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"--yaml {path} is no YAML ({' '.join(str(error).split())}); mend it.") from None
    if not isinstance(read, Mapping):
        raise DataError(f"--yaml {path} holds no options; name a training YAML, as under examples/yaml.")
    names = read.get("dataset") or ""
    parts = names if isinstance(names, list) else str(names).split(",")
    return Request(
        names=tuple(str(part).strip() for part in parts if str(part).strip()),
        model=str(read.get("model_name_or_path") or ""),
        template=str(read.get("template") or ""),
        dataset_dir=str(read.get("dataset_dir") or "data"),
        cutoff_len=read.get("cutoff_len", 2048),
        stage=str(read.get("stage") or "sft"),
        options={name: read[name] for name in DATA_OPTIONS if read.get(name) is not None},
        tl_options={name: value for name, value in read.items() if str(name).startswith("tl_")},
    )


def _examples(entry: DataEntry, request: Request, encoder: Encoder) -> list[Example]:
    found = [
        _example(entry, place, record, encoder)
        for place, record in islice(entry.records(), request.index, request.index + request.count)
    ]
    if not found:
        total = sum(1 for _ in entry.records())
        raise DataError(f"{entry.path} holds {total:,} records; --index {request.index} is beyond them, from 0.")
    return found


def _example(entry: DataEntry, place: str, record: Any, encoder: Encoder) -> Example:
    where = f"{entry.name}, {place}"
    dialogue = entry.dialogue(record)
    if isinstance(dialogue, str):
        return Example(where, problem=dialogue)
    mark, task = ("", "") if entry.marks.problem(record) else entry.marks.resolve(record)
    fault = order_fault([role for role, _ in dialogue.turns])
    if fault is not None:
        return Example(where, mark, task, problem=f"{fault}; upstream leaves the record out")
    try:
        weighed = encoder.weigh(dialogue)
    except DataError as error:
        return Example(where, mark, task, problem=error.message)
    pieces = pieces_of(weighed, encoder.decode, encoder.special)
    return Example(where, mark, task, pieces, cut=weighed.whole - len(weighed.ids))
