"""Which versions of upstream's objects were seen before: information for the doctor, never a reason to refuse.

`seen.json` holds the fingerprints by version. `python -m llamafactory_ext.upstream.patches.seen` adds those of the
LLaMA-Factory that is loaded; with a commit behind it, as those of a clone on the way to a version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from . import patch, table
from .compat import upstream_version
from .relies import fingerprint

_AT = " at "
FILE = Path(__file__).with_name("seen.json")


def seen() -> dict[str, dict[str, str]]:
    """Return, by version, the fingerprints of what is replaced, by name."""
    known: dict[str, dict[str, str]] = json.loads(FILE.read_text("utf-8"))
    return known


def loaded_fingerprints() -> dict[str, str]:
    """Return the fingerprints of upstream's own objects in this process, by name.

    Tables that are changed in place are left out: they hold our own texts.
    """
    found = {}
    for name, original in patch.originals.items():
        if patch.stranger(original) or _changed_in_place(name):
            continue
        try:
            found[name] = fingerprint(original)
        except (OSError, TypeError, SyntaxError):  # no source to read
            continue
    return found


def _changed_in_place(name: str) -> bool:
    original = patch.originals[name]
    return patch.replacements.get(name) is original and isinstance(original, (dict, list, set))


def unseen(found: Mapping[str, str]) -> list[str]:
    """Return the names of what looks like in no version that was seen."""
    return [name for name, value in found.items() if all(known.get(name) != value for known in seen().values())]


def mixed(found: Mapping[str, str], version: str | None) -> str:
    """Say that the files come from several versions, or from another one than they state; nothing if they do not.

    A version of development has a state for each commit that was seen, and code of its own may follow them.
    """
    known = seen()
    states = [one for one in known if one == version or one.startswith(f"{version}{_AT}")]
    recognised = [name for name, value in found.items() if any(known[one].get(name) == value for one in known)]
    if not recognised or not states:
        return ""
    strange = min(
        ([name for name in recognised if known[one].get(name, found[name]) != found[name]] for one in states), key=len
    )
    if not strange:
        return ""
    of = sorted({one.partition(_AT)[0] for one in known for name in strange if known[one].get(name) == found[name]})
    of = [f"another commit of {one}" if one == version else one for one in of]
    names = ", ".join(sorted(strange)[:3]) + (f" and {len(strange) - 3} more" if len(strange) > 3 else "")
    return f"states version {version}, but has the code of {' and '.join(of)} in {names}"


def main(commits: Sequence[str]) -> None:
    """Add the fingerprints of this LLaMA-Factory to the file."""
    for module in dict.fromkeys(row.module for row in table.PATCHES):
        import_module(module)
    known = seen() if FILE.is_file() else {}
    known[_AT.join([str(upstream_version()), *commits])] = loaded_fingerprints()
    FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
