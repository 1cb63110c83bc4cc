"""Turn one public data set into LLaMA-Factory records that carry a mark and a task."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from llamafactory_ext.errors import DataError, OptionError

from . import api_bank, general
from .family import SPLITS, Chosen, Family
from .reading import iter_records
from .writing import add_entry, atomic_text, make_folder, merged_entry, read_dataset_info

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        api_bank.FAMILY,
        general.ALPACA,
        general.ALPACA_GPT4,
        general.CODE_ALPACA,
        general.GSM8K,
        general.METAMATH,
        general.NQ_OPEN,
        general.TRIVIAQA,
    )
}
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "mark": "mark", "task": "task"}
_MAX_FAULTS = 10
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Request:
    """What to convert; checked by `convert`.

    Attributes:
        dataset_name: entry and file name of the result; the converter's name (with _test for a test split) if empty.
        split: "train" or "test"; taken from the file's name if empty ("train" for a folder).
        limit: how many records to draw at random without replacement; 0 takes all.
        task: the ability that the examples stand for; the converter's own if empty.
    """

    family: str
    source: Path
    out: Path
    dataset_name: str = ""
    split: str = ""
    limit: int = 0
    seed: int = 42
    task: str = ""


@dataclass(frozen=True)
class Dropped:
    """A source record that has no place in the result."""

    file: str
    place: str
    reason: str


@dataclass
class Conversion:
    """What came in, what went out, and why the rest did not. `read` = written + dropped + not_drawn."""

    family: str
    dataset_name: str
    split: str
    mark: str
    task: str
    limit: int
    seed: int
    output: Path
    read: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    written: int = 0
    not_drawn: int = 0
    duplicates_kept: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """The summary that is written beside the data (file names only, so that it reads the same anywhere)."""
        return asdict(self) | {"output": self.output.name}


def convert(request: Request) -> Conversion:
    """Convert, write `<out>/<name>.json`, `<out>/<name>.report.json` and the entry in `<out>/dataset_info.json`.

    Raises:
        OptionError: impossible options, all at once.
        DataError: missing, malformed or foreign data, or a folder that cannot be written. Nothing is half-written.
    """
    family = _check_options(request)
    chosen, split = _choose_files(request, family)
    if request.task:
        family = replace(family, task=request.task)
    name = request.dataset_name or family.name + ("_test" if split == "test" else "")
    target = request.out / f"{name}.json"
    entry = {"file_name": target.name, "columns": COLUMNS}
    make_folder(request.out)
    if any(target.resolve() == file.resolve() for file in chosen.files):
        raise DataError(f"{target} is the source itself; name another --out or another --dataset_name.")
    merged_entry(request.out, name, entry, read_dataset_info(request.out))  # refuse before the work is done

    result = Conversion(
        family=family.name,
        dataset_name=name,
        split=split,
        mark=family.mark,
        task=family.task,
        limit=request.limit,
        seed=request.seed,
        output=target,
        left_out={file.name: reason for file, reason in chosen.left_out},
    )
    with atomic_text(target) as data:
        _write(_draw(_examples(family, chosen.files, result), request, result), data, result)
        if result.written == 0:
            raise DataError(_nothing_left(chosen, result))
    with atomic_text(request.out / f"{name}.report.json") as report:
        json.dump(result.as_json(), report, indent=2, ensure_ascii=False)
        report.write("\n")
    add_entry(request.out, name, entry)
    return result


def _check_options(request: Request) -> Family:
    problems = []
    if request.family not in FAMILIES:
        problems.append(f'no converter is called "{request.family}"; choose one of {", ".join(FAMILIES)}')
    if not isinstance(request.limit, int) or isinstance(request.limit, bool) or request.limit < 0:
        problems.append(f"--limit is {request.limit!r}; give a whole number, 0 for all records")
    if not isinstance(request.seed, int) or isinstance(request.seed, bool):
        problems.append(f"--seed is {request.seed!r}; give a whole number")
    if request.split not in ("", *SPLITS):
        problems.append(f'--split is "{request.split}"; give train or test')
    if request.dataset_name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", request.dataset_name):
        problems.append(f'--dataset_name is "{request.dataset_name}"; use letters, digits, "_", "-" and "."')
    if problems:
        raise OptionError.listing("data convert:", problems)
    return FAMILIES[request.family]


def _choose_files(request: Request, family: Family) -> tuple[Chosen, str]:
    source = request.source
    try:
        is_file, is_folder = source.is_file(), source.is_dir()
    except OSError as error:
        raise DataError(f"--source {source} cannot be read ({error.strerror}); check its permissions.") from None
    if is_file:
        said = family.split_of(source.name)
        if request.split and said and request.split != said:
            raise DataError(
                f"{source} is a {said} file by its name; drop --split {request.split}, or name another file."
            )
        return Chosen((source,)), request.split or said or "train"
    if not is_folder:
        raise DataError(f"--source {source} does not exist; check the path.")
    split = request.split or "train"
    try:
        chosen = family.choose(source, split)
    except OSError as error:
        raise DataError(f"--source {source} cannot be read ({error.strerror}); check its permissions.") from None
    if not chosen.files:
        raise DataError(
            f"--source {source} holds no {split} file of {family.name} ({family.about}); name the file itself."
        )
    return chosen, split


def _examples(family: Family, files: tuple[Path, ...], result: Conversion) -> Iterator[dict[str, str]]:
    """Every usable record as a LLaMA-Factory one; counts what is read, collects what is dropped.

    Raises:
        DataError: records that are not this data set's, the first ten of them with their places.
    """
    faults: list[str] = []
    hint = ""
    for file, index, place, record in _records(family, files):
        result.read[file.name] = index + 1
        texts = family.read(record)
        if isinstance(texts, str):
            faults.append(f"  - {file}, {place}: the record {texts}")
            hint = hint or _looks_like(record, family)
            if len(faults) == _MAX_FAULTS:
                break
            continue
        instruction, query, output = family.build(texts)
        example = {
            "instruction": instruction,
            "input": query,
            "output": output,
            "mark": family.mark,
            "task": family.task,
            "id": family.identify(file, record) or f"{file.stem}:{index}",
        }
        reason = _unusable(example)
        if reason:
            result.dropped.append(Dropped(file.name, place, reason))
        else:
            yield example
    if faults:
        more = " (the first ten are shown)" if len(faults) == _MAX_FAULTS else ""
        heading = f"These are not records of {family.name}{more}; nothing was written:"
        hint = hint or f"{family.name} reads {family.about}. Mend the records or name another file."
        raise DataError("\n".join([heading, *faults, hint]))


def _records(family: Family, files: tuple[Path, ...]) -> Iterator[tuple[Path, int, str, Any]]:
    for file in files:
        for index, (place, record) in enumerate(iter_records(file, family.list_key)):
            yield file, index, place, record


def _unusable(example: dict[str, str]) -> str:
    if not example["instruction"].strip() and not example["input"].strip():
        return "empty prompt"
    if not example["output"].strip():
        return "empty output"
    if any(_LONE_SURROGATE.search(text) for text in example.values()):
        return "holds half a surrogate pair, which is no Unicode text"
    return ""


def _looks_like(record: Any, family: Family) -> str:
    others = [
        other.name for other in FAMILIES.values() if other is not family and isinstance(other.read(record), dict)
    ]
    if not others:
        return ""
    return f"The file looks like {' or '.join(others)}: llamafactory-ext data convert {others[0]} --source ..."


def _draw(examples: Iterator[dict[str, str]], request: Request, result: Conversion) -> Iterator[dict[str, str]]:
    """`limit` examples drawn without replacement in one pass (reservoir sampling), in their original order."""
    if request.limit == 0:
        yield from examples
        return
    rng = random.Random(request.seed)
    drawn: list[tuple[int, dict[str, str]]] = []
    for index, example in enumerate(examples):
        if index < request.limit:
            drawn.append((index, example))
            continue
        result.not_drawn += 1
        slot = rng.randrange(index + 1)
        if slot < request.limit:
            drawn[slot] = (index, example)
    for _, example in sorted(drawn, key=lambda pair: pair[0]):
        yield example


def _write(examples: Iterator[dict[str, str]], data: TextIO, result: Conversion) -> None:
    """A JSON list with one record per line."""
    digest = hashlib.sha256()
    seen: set[bytes] = set()
    separator = "[\n"
    for example in examples:
        line = separator + json.dumps(example, ensure_ascii=False)
        separator = ",\n"
        data.write(line)
        digest.update(line.encode())
        key = "\0".join((example["instruction"], example["input"], example["output"]))
        fingerprint = hashlib.blake2b(key.encode(), digest_size=8).digest()
        result.duplicates_kept += fingerprint in seen
        seen.add(fingerprint)
        result.written += 1
    data.write("\n]\n")
    digest.update(b"\n]\n")
    result.sha256 = digest.hexdigest()


def _nothing_left(chosen: Chosen, result: Conversion) -> str:
    names = ", ".join(str(file) for file in chosen.files)
    first = result.dropped[0]
    return (
        f"{names}: none of {sum(result.read.values())} records is usable "
        f"({first.file}, {first.place}: {first.reason}); nothing was written. Get the file again."
    )
