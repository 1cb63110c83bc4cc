"""The folder of a comparison: whose it is, and that one command at a time works in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import read_json, write_json
from ..checkpoint.locks import folder_held
from ..checkpoint.own import claim_folder
from ..errors import CheckpointError, OptionError

OWNER: Final = "comparison.json"
FORMAT: Final = "llamafactory_ext comparison 1"


@contextlib.contextmanager
def held(out: Path, name: str) -> Iterator[None]:
    """Hold the folder of a comparison as long as the block runs.

    Args:
        out: the folder; made where there is none.
        name: of the comparison.

    Raises:
        OptionError: it is somebody's, another comparison's, or another command works in it; nothing was changed.
    """
    is_new = not (out / OWNER).is_file()
    if is_new:
        claim_folder(out, option="out")
        out.mkdir(parents=True, exist_ok=True)
    else:
        _check_owner(out, name)
    with folder_held(out) as is_ours:
        if not is_ours:
            raise OptionError(
                f"out={out}: another `cl run` works in this folder; wait for its end, or name another out."
            )
        if is_new:
            write_json(out / OWNER, {"format": FORMAT, "name": name})
        yield


def remove_adapter(adapter: Path, out: Path, known: Any) -> None:
    """Remove what an earlier training wrote, and nothing else.

    Args:
        adapter: the folder.
        out: the comparison's folder, which holds it.
        known: names of files that the training left; None where it has not ended.

    Raises:
        OptionError: the folder is no part of `out`, was not begun by a comparison, or holds other files.
    """
    advice = "nothing was removed; move it away, and run the same command again"
    if not adapter.resolve().is_relative_to(out.resolve()) or adapter.is_symlink() or not adapter.is_dir():
        raise OptionError(f"{adapter} is a link or no folder within {out}; {advice}.")
    if not (adapter.parent / "begun.json").is_file():
        raise OptionError(f"{adapter} was not made by this comparison; {advice}.")
    if isinstance(known, list) and (other := sorted(set(files_of(adapter)) - set(map(str, known)))):
        raise OptionError(f"{adapter / other[0]} is no file of the training; {advice}.")
    shutil.rmtree(adapter)


def files_of(folder: Path) -> list[str]:
    """Return the names of a folder's files, from the folder on."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _check_owner(out: Path, name: str) -> None:
    advice = "nothing was changed; name another out"
    try:
        found = read_json(out / OWNER, "mark")
    except CheckpointError as error:
        raise OptionError(f"out={out}: {error.message.rstrip('.')}; {advice}.") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise OptionError(f"out={out} holds a {OWNER} that no comparison of this version wrote; {advice}.")
    if found.get("name") != name:
        raise OptionError(
            f"out={out} belongs to the comparison {str(found.get('name'))[:100]!r}, not {name!r}; {advice}."
        )
