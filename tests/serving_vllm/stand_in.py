"""Stands in for torchvision where it is missing: vLLM's module of Qwen3.5 imports it, and text never calls it.

As a plugin of vLLM it acts in each of vLLM's processes; no other module of the tests may be imported here.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

NAMES = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.v2",
    "torchvision.transforms.v2.functional",
)


def register() -> None:
    """Put empty modules in the places of torchvision's; vLLM calls it by its entry point."""
    if "torchvision" in sys.modules or find_spec("torchvision"):
        return
    from transformers.utils import is_torchvision_available

    assert not is_torchvision_available()  # which is kept, so that transformers never asks again
    for name in NAMES:
        sys.modules[name] = ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])


def install(folder: Path) -> None:
    """Make a plugin of it in a folder, for processes that have the folder in their path."""
    shutil.copy(__file__, folder / "pictures_stand_in.py")
    facts = folder / "pictures_stand_in-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: pictures_stand_in\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[vllm.general_plugins]\npictures_stand_in = pictures_stand_in:register\n")
