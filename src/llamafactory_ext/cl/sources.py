"""Published task sequences as files of this room: O-LoRA's CL_Benchmark folders and TRACE.

A task becomes `train.json` and `test.json` of records {instruction, input, output}. Items without an answer are left
out and counted. Files whose test items were trained on are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..checkpoint.own import claim, claim_plain, own_json
from ..errors import DataError, OptionError

Record = dict[str, str]
NO_LABEL: Final = "-"
_FEW = 0.02  # of the test items may stand in the training data by chance

_STANDARD = {
    "standard_1": "dbpedia amazon yahoo agnews",
    "standard_2": "dbpedia amazon agnews yahoo",
    "standard_3": "yahoo amazon agnews dbpedia",
    "long_4": "mnli cb wic copa qqp boolqa rte imdb yelp amazon sst-2 dbpedia agnews multirc yahoo",
    "long_5": "multirc boolqa wic mnli cb copa qqp rte imdb sst-2 dbpedia agnews yelp amazon yahoo",
    "long_6": "yelp amazon mnli cb copa qqp rte imdb sst-2 dbpedia agnews yahoo multirc boolqa wic",
    "trace_7": "c-stance fomc meetingbank py150 scienceqa numglue-cm numglue-ds 20minuten",
}
ORDERS: Final[Mapping[str, tuple[str, ...]]] = {name: tuple(tasks.split()) for name, tasks in _STANDARD.items()}


@dataclass(frozen=True)
class Converted:
    """What became of one task.

    Attributes:
        train, test: records.
        unanswerable: test items that have no answer, left out.
        leaked: test items that stand in the training data too.
    """

    train: list[Record]
    test: list[Record]
    unanswerable: int = 0
    leaked: int = 0

    @property
    def leaks(self) -> bool:
        """Whether more test items were trained on than chance explains."""
        return bool(self.test) and self.leaked > max(2, _FEW * len(self.test))


def read_cl_benchmark(folder: Path, *, prefix: bool = True) -> Converted:
    """Read one data set of CL_Benchmark, such as CL_Benchmark/NLI/MNLI.

    Args:
        folder: holds train.json, test.json and labels.json; two folders up lies instruction_config.json.
        prefix: whether prompts begin with the task's and the data set's name, which tell a gate the task.

    Raises:
        DataError: a file is missing or is none of these.
    """
    task, name = folder.parent.name, folder.name
    labels = _list(folder / "labels.json")
    instruction = _instruction(folder.parent.parent, task)

    def record(item: Mapping[str, Any], path: Path) -> Record:
        sentence, label = (_text(item, key, path) for key in ("sentence", "label"))
        head = f"Task:{task}\nDataset:{name}\n" if prefix else ""
        options = f"Option: {', '.join(_whole_text(str(label), folder) for label in labels)} \n"
        return {"instruction": f"{head}{instruction}{options}{sentence}\nAnswer:", "input": "", "output": label}

    train, test = ([record(item, path) for item in _list(path)] for path in _splits(folder))
    answered = [item for item in test if item["output"].strip() != NO_LABEL]
    train = [item for item in train if item["output"].strip() != NO_LABEL]
    return _checked(train, answered, len(test) - len(answered))


def read_trace(folder: Path) -> Converted:
    """Read one task of TRACE: train.json and test.json of {prompt, answer}.

    Raises:
        DataError: a file is missing or is none of these.
    """

    def record(item: Mapping[str, Any], path: Path) -> Record:
        return {"instruction": _text(item, "prompt", path), "input": "", "output": _text(item, "answer", path)}

    train, test = ([record(item, path) for item in _list(path)] for path in _splits(folder))
    answered = [item for item in test if item["output"].strip()]
    return _checked(train, answered, len(test) - len(answered))


READERS: Final = {"cl_benchmark": read_cl_benchmark, "trace": read_trace}


def convert(kind: str, source: Path, out: Path, *, allow_leak: bool = False, prefix: bool = True) -> Converted:
    """Write train.json and test.json of one task to a folder.

    Args:
        kind: cl_benchmark or trace.
        source: folder of the task.
        out: the folder to write to.
        allow_leak: write a test file although its items stand in the training data.
        prefix: of `read_cl_benchmark`.

    Raises:
        OptionError: no such kind, or the target is somebody's.
        DataError: files are missing or malformed, or the test items were trained on.
    """
    if not isinstance(kind, str) or kind not in READERS:
        raise OptionError(f"There is no reader of {kind!r}; choose one of {', '.join(READERS)}.")
    found = read_cl_benchmark(source, prefix=prefix) if kind == "cl_benchmark" else read_trace(source)
    if found.leaks and not allow_leak:
        raise DataError(
            f"{source / 'test.json'}: {found.leaked} of its {len(found.test)} items stand in train.json too, so a "
            "score on it is mostly one on training data (the TRACE files as converted by Xnhyacinth/cl are so). Take "
            "the original files, or give --allow_leak to write it all the same."
        )
    if not found.test:
        raise DataError(f"{source / 'test.json'} has no item with an answer; nothing was written.")
    files = {out / "train.json": found.train, out / "test.json": found.test}
    claim_plain(out)
    claim(files, inputs=list(_splits(source)))
    out.mkdir(parents=True, exist_ok=True)
    for path, records in files.items():
        own_json(path, records)
    return found


def leaked_items(train: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]]) -> int:
    """Return how many test items have a prompt and an answer that stand in the training data."""
    known = {_key(item) for item in train}
    return sum(_key(item) in known for item in test)


def _checked(train: list[Record], test: list[Record], unanswerable: int) -> Converted:
    return Converted(train, test, unanswerable, leaked_items(train, test))


def _key(item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(" ".join(str(item.get(name, "")).split()) for name in ("instruction", "input", "output"))


def _splits(folder: Path) -> tuple[Path, Path]:
    return folder / "train.json", folder / "test.json"


def _instruction(root: Path, task: str) -> str:
    for path in (root / "instruction_config.json", root.parent / "configs" / "instruction_config.json"):
        if path.is_file():
            return _first_instruction(_json(path), task, path)
    raise DataError(
        f"{root} has no instruction_config.json, which says how each task is asked; copy O-LoRA's configs/"
        "instruction_config.json there."
    )


def _first_instruction(config: Any, task: str, path: Path) -> str:
    """Return how a task is asked; an empty text where the file does not name the task."""
    asked = config.get(task, []) if isinstance(config, dict) else None
    if asked == []:
        return ""
    first = asked[0] if isinstance(asked, list) else None
    if not isinstance(first, dict) or not isinstance(first.get("instruction", ""), str):
        raise DataError(f"{path}: {task} is no list of {{instruction: text}}; take O-LoRA's file.")
    return _whole_text(first.get("instruction", ""), path)


def _whole_text(text: str, path: Path) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(f"{path} holds half a character (a surrogate); download it again.")
    return text


def _list(path: Path) -> list[Any]:
    found = _json(path)
    if not isinstance(found, list):
        raise DataError(f"{path} is no list of items; name a folder of the published data.")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; name a folder with train.json and test.json.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again.") from None


def _text(item: Any, key: str, path: Path) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, str | int | float):
        raise DataError(f"{path}: an item has no text {key!r}; name a folder of the published data.")
    return _whole_text(str(value), path)
