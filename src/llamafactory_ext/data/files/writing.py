"""Write files whole or not at all, and merge entries into dataset_info.json."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

from llamafactory_ext.errors import DataError, OptionError

from ...checkpoint.atomic import staged_file
from ...checkpoint.locks import folder_locked
from ...checkpoint.own import RECORD, claim, claim_plain, own_file, sha256
from .ledger import Notes

# Half a surrogate pair is no text in UTF-8; as an escape of JSON it is what it was.
_ESCAPED = "backslashreplace"
_TEXT: dict[str, Any] = {"encoding": "utf-8", "newline": "\n", "errors": _ESCAPED}
DATASET_INFO = "dataset_info.json"


@contextlib.contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Open a temporary neighbour of `path` for writing; it takes the place of `path` only if the block succeeds."""
    try:
        with staged_file(path) as staged, staged.open("w", **_TEXT) as handle:
            yield handle
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); check --out, space and permissions.") from None


@contextlib.contextmanager
def own_data(path: Path, known: Iterable[str] = ()) -> Iterator[TextIO]:
    """Write as `atomic_text` does, where nothing is there or an unchanged file of a command."""
    with own_file(path, known) as staged, staged.open("w", **_TEXT) as handle:
        yield handle


class RecordFile:
    """Writes a JSON list with one record per line, and knows its SHA-256 and the number of records."""

    def __init__(self, handle: TextIO) -> None:
        self.count = 0
        self._handle = handle
        self._digest = hashlib.sha256()

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        self._put(("[\n" if self.count == 0 else ",\n") + json.dumps(record, ensure_ascii=False))
        self.count += 1

    def end(self) -> None:
        """Close the list."""
        self._put("\n]\n")

    @property
    def sha256(self) -> str:
        """Of everything written so far."""
        return self._digest.hexdigest()

    def _put(self, text: str) -> None:
        self._handle.write(text)
        self._digest.update(text.encode(errors=_ESCAPED))


def report_path(data_file: Path) -> Path:
    """Return where the report on a data file lies."""
    return data_file.with_suffix(".report.json")


def claim_data(folder: Path, target: Path, info: Mapping[str, Any], inputs: Iterable[Path]) -> list[str]:
    """Make sure that a data file, its report and its entry may be written.

    Args:
        folder: of dataset_info.json.
        target: the data file.
        info: the entries of that file.
        inputs: what the command reads.

    Returns:
        Hashes of earlier versions' data file and report, which may be replaced.

    Raises:
        OptionError: one of them is something else.
    """
    option = "--dataset_name or another folder"
    report = report_path(target)
    registry = folder / DATASET_INFO
    used = [folder / str(entry.get("file_name")) for name, entry in info.items() if name != target.stem]
    if target.name in (DATASET_INFO, RECORD) or report.name == DATASET_INFO:
        raise OptionError(f"{target} is the register of the data sets itself; name another {option}.")
    known = [*_known_data(report), *_known_report(report)]
    claim_plain(folder, option="The data folder")
    claim([target, report], inputs=[*inputs, registry, *used], option=option, known=known)
    return known


def _known_report(report: Path) -> list[str]:
    """Return the hash of a report that an earlier version wrote, which kept no record of it."""
    said = _said(report)
    return [sha256(report)] if "sha256" in said and "output" in said and "seed" in said else []


def _known_data(report: Path) -> list[str]:
    """Return the hash that a report of ours gives its data file."""
    said = _said(report)
    return [said["sha256"]] if isinstance(said.get("sha256"), str) and "output" in said else []


def _said(report: Path) -> dict[str, Any]:
    try:
        content = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_report(data_file: Path, summary: Mapping[str, Any], notes: Mapping[str, Notes]) -> Path:
    """Write <data_file without suffix>.report.json: the summary, then the lists of notes, however long they are."""
    path = report_path(data_file)
    with own_data(path, _known_report(path)) as handle:
        handle.write(json.dumps(summary, indent=2, ensure_ascii=False).removesuffix("\n}"))
        for name, entries in notes.items():
            handle.write(f',\n  "{name}": ')
            entries.write_json(handle, "    ")
        handle.write("\n}\n")
    return path


def make_folder(folder: Path, option: str = "--out") -> None:
    """Create `folder`, which an option names, if it is missing, and make sure that files can be created in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{option} {folder} is no folder; name a folder.") from None
    except OSError as error:
        raise DataError(f"{option} {folder} is not writable ({error.strerror}); name another folder.") from None


def read_dataset_info(folder: Path, *, whole: bool = True) -> dict[str, Any]:
    """Return the entries of `folder`/dataset_info.json; none if there is no such file.

    Args:
        folder: that holds the file.
        whole: whether every entry must be an object, not only those that somebody asks for.

    Raises:
        DataError: unreadable, malformed, or not an object of entries.
    """
    path = folder / DATASET_INFO
    try:
        info = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno} column {error.colno}: malformed JSON ({error.msg}); mend the file."
        ) from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); mend the file.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    if not isinstance(info, dict) or (whole and not all(isinstance(entry, dict) for entry in info.values())):
        raise DataError(f"{path} must be an object that maps data set names to entries (objects); mend the file.")
    return info


def existing_dataset_info(folder: Path, *, whole: bool = True) -> dict[str, Any]:
    """Return the entries of `folder`/dataset_info.json, which must be there; `whole` as for `read_dataset_info`.

    Raises:
        DataError: no such file, or one that cannot be used.
    """
    info = read_dataset_info(folder, whole=whole)
    if not info and not (folder / DATASET_INFO).exists():
        raise DataError(
            f"{folder / DATASET_INFO} does not exist; point dataset_dir at the folder that holds it, "
            f"or make it with: llamafactory-ext data convert NAME --source ... --out {folder}"
        )
    return info


def near_names(name: str, info: Mapping[str, Any]) -> str:
    """Return which data sets may have been meant by a name that is none."""
    close = get_close_matches(name, info, n=3, cutoff=0.65)
    return f"did you mean {' or '.join(close)}?" if close else f"it knows: {', '.join(sorted(info)) or 'none'}."


def merged_entry(folder: Path, name: str, entry: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry as it will stand: what the user added to an earlier one for the same file is kept.

    Raises:
        DataError: the name is taken by an entry for something else.
    """
    old = info.get(name, {})
    if old and old.get("file_name") != entry["file_name"]:
        raise DataError(
            f'{folder / DATASET_INFO} already has an entry "{name}" for something else; '
            "give this one another name with --dataset_name."
        )
    return {**old, **entry}


def add_entry(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Add or renew one entry of dataset_info.json; all others stay, also if another process adds its own meanwhile."""
    with folder_locked(folder):
        info = read_dataset_info(folder)
        info[name] = merged_entry(folder, name, entry, info)
        with atomic_text(folder / DATASET_INFO) as handle:
            # Upstream opens this file in the locale's encoding: plain ASCII reads the same everywhere.
            json.dump(info, handle, indent=2, ensure_ascii=True)
            handle.write("\n")
