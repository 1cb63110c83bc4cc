"""The folder of an export: which of its files the export wrote, and which are somebody else's and stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import write_json
from ..checkpoint.own import sha256
from ..errors import OptionError

LIST = "export_files.json"  # what an export wrote, by name
_HASHED = 1 << 22  # bytes of a file up to which its content is compared, and not its size alone
# What exports of versions without a list consist of.
_EARLIER = re.compile(
    r"(config|generation_config|special_tokens_map|added_tokens|vocab|processor_config|preprocessor_config|"
    r"video_preprocessor_config|chat_template)\.json|chat_template\.jinja|README\.md|merges\.txt|vocab\.txt|"
    r"tokenizer(_config)?\.json|tokenizer\.model|model[-\w]*\.safetensors(\.index\.json)?|[\w-]*(sentencepiece|spiece)[\w.-]*"
)
_SHOWN = 3


def target_problem(out_dir: Path, block: str) -> str | None:
    """Say why an export cannot take the place of what is in a folder; None where it can.

    Args:
        out_dir: that export_dir names.
        block: the method's key in config.json.
    """
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return None
    if block not in _object(out_dir / "config.json"):
        return f"export_dir={out_dir} holds something else than an earlier export; name an empty folder"
    if not (others := [*_of_others(out_dir)]):
        return None
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return (
        f"export_dir={out_dir} holds, beside an earlier export, what that did not write: {', '.join(others[:_SHOWN])}"
        f"{more}. A new export takes the folder's place, and this would be gone; move it away, or name another folder"
    )


def check_unmixed(out_dir: Path) -> None:
    """Make sure, before a folder is replaced, that everything in it was written by an export.

    Raises:
        OptionError: something was not.
    """
    if out_dir.is_dir() and (others := [*_of_others(out_dir)]):
        raise OptionError(
            f"export_dir={out_dir} has got files of somebody else meanwhile, {others[0]} for example; nothing was "
            "written. Move them away, or name another folder."
        )


def list_files(folder: Path) -> None:
    """Write down what an export consists of, when all of it is there."""
    facts = {path.relative_to(folder).as_posix(): _facts(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / LIST, {"files": facts})


def _of_others(folder: Path) -> Iterator[str]:
    """Yield what an export did not write, or what was changed since."""
    listed = _object(folder / LIST).get("files")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                yield f"{name}/"
        elif isinstance(listed, dict):
            if name != LIST and listed.get(name) != _facts(path):
                yield f"{name} (changed since)" if name in listed else name
        elif not _EARLIER.fullmatch(name):
            yield name


def _facts(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        return {}
    size = path.stat().st_size
    return {"bytes": size} | ({"sha256": sha256(path)} if size <= _HASHED else {})


def _object(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
