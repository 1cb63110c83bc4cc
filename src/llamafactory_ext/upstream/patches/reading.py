"""Wrapper around upstream's reader of a command: what cannot be read ends in a line that names file and line.

Commands that are certainly another method's are left to upstream, errors included.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..._report import methods_in
from ...errors import OptionError
from ...options.command_file import (
    as_typed,
    checks_asked,
    dropped_names,
    file_problems,
    left_over,
    names_a_file,
    word_problems,
)
from ...options.groups import acts, looks_like_ours

Function = Callable[..., Any]
HEADING = "This command cannot be read:"
_told: set[str] = set()


def wrap_read_args(original: Function) -> Function:
    """Wrap `read_args`: files of runs of ours are checked first; words may drop options of the file, as `~NAME`."""

    @functools.wraps(original)
    def read_args(args: Any = None, *more: Any, **named: Any) -> Any:
        words = sys.argv[1:]
        if args is not None or not names_a_file(words) or not _is_ours(words):
            return original(args, *more, **named)
        path = Path(words[0])
        problems = file_problems(path) + word_problems(words[1:])
        if problems:
            raise OptionError.listing(HEADING, problems)
        try:
            return _read(path, words[1:])
        except OptionError:
            raise
        except Exception as error:  # of omegaconf's many kinds: an interpolation, a key without a name
            text = " ".join(str(error).split())[:200]
            raise OptionError.listing(HEADING, [f"{path}: {text}; mend the file, or the words after it"]) from error

    return read_args


def _is_ours(words: list[str]) -> bool:
    """Tell whether a command names a method or option of ours, or a missing file, which may be anybody's."""
    if checks_asked() or methods_in(words) or not Path(words[0]).is_file():
        return True
    named = [word.lstrip("-~").partition("=")[0] for word in words[1:]]
    return any(looks_like_ours(name) for name in named)


def _read(path: Path, words: list[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    dropped = dropped_names(words)
    given = OmegaConf.from_cli([word for word in words if not word.startswith("~")])
    if path.suffix == ".json":
        file = OmegaConf.create(json.loads(path.read_text(encoding="utf-8-sig")))
    else:
        file = OmegaConf.load(path.absolute())
    merged = OmegaConf.to_container(OmegaConf.merge(file, given), resolve=True)
    if unknown := [name for name in dropped if name not in file]:
        raise OptionError.listing(HEADING, [_not_there(name, list(file), path) for name in unknown])
    options = as_typed(words, merged if isinstance(merged, Mapping) else {})
    left, replaced = left_over(_plain(file), _plain(given), acts)
    if left:
        _say(f"{', '.join(left)}: passed over, as {replaced} takes the place of what {path} says.")
    return {name: value for name, value in options.items() if name not in (*dropped, *left)}


def _not_there(name: str, known: list[Any], path: Path) -> str:
    near = get_close_matches(name, map(str, known), n=1)
    return f"~{name}: {path} has no {name}; " + (f"did you mean ~{near[0]}?" if near else "remove the word")


def _plain(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return dict(OmegaConf.to_container(config, resolve=False) or {})  # type: ignore[arg-type]


def _say(line: str) -> None:
    """Tell the user, once in a process: upstream reads a command several times."""
    from llamafactory.extras import logging

    if line not in _told:
        _told.add(line)
        logging.get_logger(__name__).warning_rank0(line)
