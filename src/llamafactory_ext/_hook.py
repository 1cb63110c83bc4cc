"""The import hook: patches LLaMA-Factory's modules right after each has executed, in every process.

Standard library only, and loaded by path at interpreter start-up (see `_llamafactory_ext_start`): nothing of this
package, torch included, is imported before one of the modules below is. `LLAMAFACTORY_EXT=0` switches it off.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

KILL_SWITCH = "LLAMAFACTORY_EXT"
# The modules named in upstream/patches.py: kept here too so that start-up reads no other file; a test compares them.
PATCHED_MODULES = frozenset(
    {
        "llamafactory.cli",
        "llamafactory.data.loader",
        "llamafactory.extras.constants",
        "llamafactory.hparams.finetuning_args",
        "llamafactory.hparams.parser",
        "llamafactory.launcher",
        "llamafactory.model.adapter",
        "llamafactory.train.tuner",
    }
)


class PatchingLoader(Loader):
    """Lets the original loader run a module, then hands the module to the patch table."""

    def __init__(self, original: Loader) -> None:
        self.original = original

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.original.exec_module(module)
        from llamafactory_ext.upstream.patches import apply_patches

        apply_patches(module)

    def __getattr__(self, name: str) -> object:
        """Everything else a loader may offer (get_source, get_data, ...) is the original's."""
        return getattr(self.original, name)


class PatchingFinder(MetaPathFinder):
    """Finds the modules to patch with the other finders and wraps their loaders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in PATCHED_MODULES:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, PatchingFinder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = PatchingLoader(spec.loader)
                return spec
        return None


def is_active() -> bool:
    """Whether the finder is in place in this process."""
    return any(isinstance(finder, PatchingFinder) for finder in sys.meta_path)


def install() -> None:
    """Put the finder first, once; do nothing under the kill switch."""
    if os.environ.get(KILL_SWITCH) != "0" and not is_active():
        sys.meta_path.insert(0, PatchingFinder())
