"""What a fresh process finds when it imports everything that we patch: the doctor's raw findings."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from . import compat, features, seen, table

TORCH_FAMILY = ("torchvision", "torchaudio")
MARK = "llamafactory_ext probe: "


def probe(active: bool) -> None:
    """Import what we patch and print what happened, as JSON behind a mark.

    Args:
        active: whether the hooks were in place before anything of ours was imported on purpose.
    """
    found = compat.upstream_folder() is not None
    modules = sorted({row.module for row in table.PATCHES})
    names = (*TORCH_FAMILY, *modules) if found else ()
    imports = {name: _import(name) for name in names}
    from peft.utils import PeftType

    fingerprints = seen.loaded_fingerprints()
    findings: dict[str, Any] = {
        "active": active,
        "imports": imports,
        "peft_method": "MOLORA" in PeftType.__members__,
        "upstream": compat.upstream_name() if found else "",
        "too_old": compat.is_too_old(),
        "installations": [f"{compat.version_of(folder)} in {folder.parent}" for folder in compat.installations()],
        "features": [*features.Feature] if found else [],
        "broken": {name: [problem, [*needed_by]] for name, (problem, needed_by) in features.broken().items()},
        "needed": {module: [*_needed(module)] for module in modules},
        "others": table.patched_by_others(),
        "unseen": seen.unseen(fingerprints),
        "mixed": seen.mixed(fingerprints, compat.upstream_version()),
    }
    print(MARK + json.dumps(findings))


def _needed(module: str) -> dict[features.Feature, None]:
    parts = [part for part in table.PATCHES if part.module == module]
    return dict.fromkeys(feature for part in parts for feature in part.needed_by)


def _import(name: str) -> str:
    """Return nothing, or the first line of why a module cannot be imported."""
    try:
        import_module(name)
    except (Exception, SystemExit) as error:
        text = str(error).strip() or type(error).__name__
        return text.splitlines()[0][:200]
    return ""


if __name__ == "__main__":
    probe(sys.argv[1:] == ["active"])
