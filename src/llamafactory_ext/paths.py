"""Looks at paths that a user or a file of a user names: a name that no disk takes names nothing."""

from collections.abc import Callable
from pathlib import Path


def exists(path: Path) -> bool:
    """Tell whether a path leads to something."""
    return _answer(path.exists)


def is_file(path: Path) -> bool:
    """Tell whether a path leads to a file."""
    return _answer(path.is_file)


def is_folder(path: Path) -> bool:
    """Tell whether a path leads to a folder."""
    return _answer(path.is_dir)


def can_be_named(path: Path) -> bool:
    """Tell whether a disk takes a name, be there a file or not."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return True


def _answer(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):  # too long, a half character, a folder that may not be searched
        return False
