"""Turn one public data set into LLaMA-Factory records that carry a mark and a task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError, OptionError

from ...benchmarks import benchmarks
from ...methods import load
from ..family import SPLITS, Chosen, Drop, Example, Family, Foreign, Outcome
from ..files.draw import draw, pick
from ..files.ledger import Note, Notes, Repeats
from ..files.repeated import fault_of, repeated_key
from ..files.writing import (
    RecordFile,
    add_entry,
    claim_data,
    make_folder,
    merged_entry,
    own_data,
    read_dataset_info,
    write_report,
)
from . import api_bank, apigen_mt, bfcl, etapp, general, glaive, hermes, react, tl_training, toolace, toolalpaca, xlam

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        api_bank.FAMILY,
        toolalpaca.FAMILY,
        tl_training.FAMILY,
        react.ROTBENCH,
        react.TOOLEYES,
        bfcl.FAMILY,
        glaive.FAMILY,
        xlam.FAMILY,
        toolace.FAMILY,
        hermes.FAMILY,
        apigen_mt.FAMILY,
        etapp.FAMILY,
        general.ALPACA,
        general.ALPACA_GPT4,
        general.CODE_ALPACA,
        general.GSM8K,
        general.HUMANEVAL,
        general.METAMATH,
        general.NQ_OPEN,
        general.TRIVIAQA,
    )
}
# Those of benchmarks that the list lacks.
for _name in (name for row in benchmarks() for name in row.families):
    FAMILIES.setdefault(load(_name).name, load(_name))
_MAX_FAULTS = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Request:
    """What to convert; checked by `convert`.

    Attributes:
        dataset_name: entry and file name of the result; the converter's name (with _test for a test split) if empty.
        split: "train" or "test"; taken from the file's name if empty ("train" for a folder, if it has such files).
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
    dropped: Notes = field(default_factory=Notes)
    findings: Notes = field(default_factory=Notes)
    sha256: str = ""

    def summary(self) -> dict[str, Any]:
        """Return everything but the single notes (file names only, so that it reads the same anywhere)."""
        whole = {key: value for key, value in vars(self).items() if not isinstance(value, Notes)}
        counts = {"dropped_by_reason": dict(self.dropped.counts), "findings_by_reason": dict(self.findings.counts)}
        return whole | {"output": self.output.name} | counts


def convert(request: Request) -> Conversion:
    """Convert, write `<out>/<name>.json`, `<out>/<name>.report.json` and the entry in `<out>/dataset_info.json`.

    Raises:
        OptionError: impossible options, all at once.
        DataError: missing, malformed or foreign data, or a folder that cannot be written. Nothing is half-written.
    """
    family = _check_options(request)
    chosen, split = _choose_files(request, family)
    if request.task:
        family = replace(family, task=request.task, read=_with_task(family.read, request.task))
    name = request.dataset_name or family.name + ("_test" if split == "test" else "")
    target = request.out / f"{name}.json"
    entry = family.layout.entry(target.name)
    make_folder(request.out)
    if any(target.resolve() == file.resolve() for file in chosen.files):
        raise DataError(f"{target} is the source itself; name another --out or another --dataset_name.")
    info = read_dataset_info(request.out)
    merged_entry(request.out, name, entry, info)  # refuse before the work is done
    known = claim_data(request.out, target, info, chosen.files)

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
    with own_data(target, known) as data:
        _write(family, chosen, RecordFile(data), result)
        if result.written == 0:
            raise DataError(_nothing_left(chosen, result))
    write_report(target, result.summary(), {"dropped": result.dropped, "findings": result.findings})
    add_entry(request.out, name, entry)
    return result


def _with_task(read: Callable[[Any], Outcome], task: str) -> Callable[[Any], Outcome]:
    """Return the reader, whose examples all carry this task."""

    def read_with_task(record: Any) -> Outcome:
        outcome = read(record)
        return replace(outcome, task=task) if isinstance(outcome, Example) else outcome

    return read_with_task


def check_name(name: str) -> str | None:
    """Say why `name` cannot be a data set's name, or None."""
    if _NAME.fullmatch(name):
        return None
    return f'--dataset_name is "{name}"; use letters, digits, "_", "-" and "."'


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
    bad_name = check_name(request.dataset_name) if request.dataset_name else None
    if bad_name:
        problems.append(bad_name)
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
    # A data set that was published for testing only is never training data.
    split = request.split or family.split_of("") or "train"
    try:
        chosen = family.choose(source, split)
    except OSError as error:
        raise DataError(f"--source {source} cannot be read ({error.strerror}); check its permissions.") from None
    if not chosen.files:
        raise DataError(
            f"--source {source} holds no {split} file of {family.name} ({family.about}); "
            f"{_other_split(family, source, split)}."
        )
    return chosen, split


def _other_split(family: Family, source: Path, split: str) -> str:
    """Return what to do where a folder holds no file of a split."""
    only, other = family.split_of(""), "train" if split == "test" else "test"
    if only == other:
        return f"it was published for {other} only: drop --split {split}"
    there = [] if only else [file.name for file in family.choose(source, other).files]
    return f"it holds {', '.join(there[:3])}: add --split {other}" if there else "name the file itself"


def _write(family: Family, chosen: Chosen, output: RecordFile, result: Conversion) -> None:
    """Write all examples, or those that are drawn: then one pass counts, and another writes."""
    repeats = Repeats()
    kinds: dict[str, dict[str, None]] = {}
    examples = _examples(family, chosen.files, result.read, result.dropped)
    if result.limit:
        usable = sum(1 for _ in _examples(family, chosen.files, {}, Notes()))
        drawn = draw(usable, result.limit, result.seed)
        result.not_drawn = usable - len(drawn)
        examples = pick(examples, drawn)
    for file, index, place, example in examples:
        key = f"{example.prefix}{file.name.partition('.')[0]}:{example.key or index}"
        mark, task = example.mark or family.mark, example.task or family.task
        kinds.setdefault(mark, {})[task] = None
        output.add(example.columns | {"mark": mark, "task": task, "id": key})
        texts = [value for column, value in example.columns.items() if column != "reference"]
        repeats.add(json.dumps(texts, ensure_ascii=False))
        for finding in example.findings:
            result.findings.add(Note(file.name, place, finding))
    output.end()
    result.mark = ", ".join(kinds) or result.mark
    result.task = ", ".join(dict.fromkeys(task for tasks in kinds.values() for task in tasks)) or result.task
    result.written, result.sha256, result.duplicates_kept = output.count, output.sha256, repeats.count()


def _examples(
    family: Family, files: tuple[Path, ...], read: dict[str, int], dropped: Notes
) -> Iterator[tuple[Path, int, str, Example]]:
    """Yield every usable record with its file, number and place; count what is read, note what is dropped.

    Raises:
        DataError: records that are not this data set's, the first ten of them with their places.
    """
    faults: list[str] = []
    hint = ""
    for file, index, place, record in _records(family, files):
        read[file.name] = index + 1
        outcome = _read(family, record)
        if isinstance(outcome, Example) and (key := repeated_key(record)) is not None:
            outcome = replace(outcome, findings=(*outcome.findings, fault_of(key)))
        if isinstance(outcome, Foreign):
            faults.append(f"  - {file}, {place}: the record {outcome.fault}")
            hint = hint or _looks_like(record, family)
            if len(faults) == _MAX_FAULTS:
                break
        elif isinstance(outcome, Drop):
            dropped.add(Note(file.name, place, outcome.reason))
        elif _LONE_SURROGATE.search(json.dumps([outcome.columns, outcome.key], ensure_ascii=False)):
            dropped.add(Note(file.name, place, "holds half a surrogate pair, which is no Unicode text"))
        else:
            yield file, index, place, outcome
    if faults:
        more = " (the first ten are shown)" if len(faults) == _MAX_FAULTS else ""
        heading = f"These are not records of {family.name}{more}; nothing was written:"
        hint = hint or f"{family.name} reads {family.about}. Mend the records or name another file."
        raise DataError("\n".join([heading, *faults, hint]))


def _read(family: Family, record: Any) -> Outcome:
    """Return what a converter makes of a record; values of types that no publisher writes make it a foreign one."""
    try:
        return family.read(record)
    except (TypeError, AttributeError, LookupError, ValueError, ArithmeticError, RecursionError) as error:
        return Foreign(f"holds a value of another type than the data set's ({type(error).__name__}: {error})"[:300])


def _records(family: Family, files: tuple[Path, ...]) -> Iterator[tuple[Path, int, str, Any]]:
    for file in files:
        records, index = family.records(file), 0
        while True:
            try:
                place, record = next(records)
            except StopIteration:
                break
            except (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
                raise DataError(
                    f"{file}, record {index} or its parts: a value of another type than published ({error}). Mend "
                    "it, or name another file."
                ) from None
            yield file, index, place, record
            index += 1


def _looks_like(record: Any, family: Family) -> str:
    others = [
        other.name
        for other in FAMILIES.values()
        if other is not family and isinstance(_read(other, record), Example | Drop)
    ]
    if not others:
        return ""
    return f"The file looks like {' or '.join(others)}: llamafactory-ext data convert {others[0]} --source ..."


def _nothing_left(chosen: Chosen, result: Conversion) -> str:
    names = ", ".join(str(file) for file in chosen.files)
    first = next(iter(result.dropped))
    return (
        f"{names}: none of {sum(result.read.values())} records is usable "
        f"({first.file}, {first.place}: {first.reason}); nothing was written. Get the file again."
    )
