"""Which LLaMA-Factory is loaded: its version and where it comes from."""

from __future__ import annotations

import ast
import os
import sys
from importlib.util import find_spec
from pathlib import Path

# Everything before is refused by our methods. docs/versions.md says what was run.
OLDEST = "0.9.5"
PACKAGE = "llamafactory"


def upstream_folder() -> Path | None:
    """Return the folder of the package that is loaded, or that an import would load; None without one."""
    module = sys.modules.get(PACKAGE)
    try:
        found = getattr(module, "__file__", None) if module else getattr(find_spec(PACKAGE), "origin", None)
    except (ImportError, ValueError):
        return None
    return Path(found).parent if found else None


def upstream_version() -> str | None:
    """Return the version that this code states of itself, whatever else is installed; None without any."""
    loaded = getattr(sys.modules.get(f"{PACKAGE}.extras.env"), "VERSION", None)
    if isinstance(loaded, str):
        return loaded
    folder = upstream_folder()
    return _stated(folder / "extras" / "env.py") if folder else None


def upstream_name() -> str:
    """Return LLaMA-Factory with version and origin, as messages show it."""
    folder = upstream_folder()
    if folder is None:
        return "LLaMA-Factory, which is not installed"
    kind = "installed" if folder.parent.name in ("site-packages", "dist-packages") else f"from {folder.parent}"
    return f"LLaMA-Factory {upstream_version() or 'of an unknown version'} ({kind})"


def is_too_old() -> bool:
    """Tell whether the version is known and older than all that our methods support."""
    found = _numbers(upstream_version() or "")
    return bool(found) and found < _numbers(OLDEST)


def installations() -> list[Path]:
    """Return the folders of all LLaMA-Factories that can be found, the one that is loaded first."""
    loaded = upstream_folder()
    folders = [Path(entry or os.curdir) / PACKAGE for entry in sys.path]
    found = [folder.resolve() for folder in folders if (folder / "extras" / "env.py").is_file()]
    return list(dict.fromkeys([*([loaded.resolve()] if loaded else []), *found]))


def version_of(folder: Path) -> str:
    """Return the version that the code in a folder states."""
    return _stated(folder / "extras" / "env.py") or "of an unknown version"


def _stated(file: Path) -> str | None:
    try:
        body = ast.parse(file.read_text("utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return None
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VERSION":
            value = getattr(node.value, "value", None)
            return value if isinstance(value, str) else None
    return None


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
