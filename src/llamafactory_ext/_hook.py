"""The import hook: patches LLaMA-Factory's modules right after each has executed, in every process.

Standard library only, and loaded by path at interpreter start-up (see `_llamafactory_ext_start`): nothing of this
package but `_report.py`, torch included, is imported before one of the modules below is. `LLAMAFACTORY_EXT=0` switches
it off.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import ModuleType
from typing import Any

from llamafactory_ext._report import ERROR_FOLDER, InstallationError, broken, install_excepthook, methods_in

KILL_SWITCH = "LLAMAFACTORY_EXT"
CHECKS = "LLAMAFACTORY_EXT_CHECKS"  # as in options/command_file.py
READ = "read_args"  # upstream's function through which every command and call reads its options
V1_LAUNCHER = "llamafactory.v1.launcher"
# The modules named in upstream/patches/table.py, kept here too so that start-up reads no other file; a test compares
# them.
PATCHED_MODULES = frozenset(
    {
        "llamafactory.data.converter",
        "llamafactory.data.loader",
        "llamafactory.data.template",
        "llamafactory.extras.constants",
        "llamafactory.hparams.finetuning_args",
        "llamafactory.hparams.parser",
        "llamafactory.launcher",
        "llamafactory.model.adapter",
        "llamafactory.train.tuner",
        "llamafactory.webui.chatter",
        "llamafactory.webui.common",
        "llamafactory.webui.components.export",
        "llamafactory.webui.components.top",
        "llamafactory.webui.components.train",
        "llamafactory.webui.interface",
        "llamafactory.webui.locales",
        "llamafactory.webui.manager",
        "llamafactory.webui.runner",
    }
)


class PatchingLoader(Loader):
    """Lets the original loader run a module, then hands the module to the patch table."""

    def __init__(self, original: Loader) -> None:
        self.original = original

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the choice of module object to the original loader."""
        return self.original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then patch it."""
        self.original.exec_module(module)
        install_excepthook()
        if not broken:
            try:
                from llamafactory_ext.upstream.patches.table import apply_patches

                apply_patches(module)
            except Exception as error:  # LLaMA-Factory works without us, and runs of ours are refused
                broken.append(f"{type(error).__name__}: {error}".replace("\n", " "))
        if broken and module.__name__ == "llamafactory.hparams.parser":
            refuse_runs_of_ours(module)

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of a loader (get_source, get_data, ...) from the original one."""
        return getattr(self.original, name)


class PatchingFinder(MetaPathFinder):
    """Finds the modules to patch with the other finders and wraps their loaders."""

    def __init__(self) -> None:
        self._searched: set[tuple[int, str]] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the table, with our loader; None for all others."""
        v1 = fullname == V1_LAUNCHER and os.environ.get("USE_V1", "").lower() in ("1", "true", "y")
        checked = os.environ.get(CHECKS, "").lower() in ("1", "true", "yes")
        if v1 and (methods := methods_in(sys.argv[1:]) or [f"{CHECKS}=1"] * checked):
            print(
                f"OptionError: {' and '.join(methods)}: USE_V1=1 selects LLaMA-Factory's other argument system, which "
                "has none of our methods. Unset USE_V1.",
                file=sys.stderr,
            )
            sys.exit(2)
        # Another package's finder may ask the others too, and comes back here.
        search = (get_ident(), fullname)
        if fullname not in PATCHED_MODULES or search in self._searched:
            return None
        self._searched.add(search)
        try:
            return self._wrapped(fullname, path, target)
        finally:
            self._searched.discard(search)

    @staticmethod
    def _wrapped(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            if isinstance(finder, PatchingFinder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = PatchingLoader(spec.loader)
                return spec
        return None


def refuse_runs_of_ours(parser: ModuleType) -> None:
    """End runs of ours in one line, also without our package behind this module."""
    original = getattr(parser, READ, None)
    if original is None:
        return

    def read_args(*args: Any, **kwargs: Any) -> Any:
        given = original(*args, **kwargs)
        words = [f"{name}: {value}" for name, value in given.items()] if isinstance(given, dict) else given
        if methods := methods_in(words or []):
            raise InstallationError.of(methods)
        return given

    setattr(parser, READ, read_args)


def is_active() -> bool:
    """Tell whether the finder is in place in this process."""
    return any(isinstance(finder, PatchingFinder) for finder in sys.meta_path)


def install() -> None:
    """Put the finder first, once; do nothing under the kill switch."""
    if os.environ.get(KILL_SWITCH) == "0" or is_active():
        return
    sys.meta_path.insert(0, PatchingFinder())
    if ERROR_FOLDER in os.environ:  # torchrun itself never imports what we patch, yet repeats its children's failure
        install_excepthook()
