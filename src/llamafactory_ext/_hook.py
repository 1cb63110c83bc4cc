"""The import hook: patches LLaMA-Factory's modules right after each has executed, in every process.

Standard library only, and loaded by path at interpreter start-up (see `_llamafactory_ext_start`): nothing of this
package, torch included, is imported before one of the modules below is. `LLAMAFACTORY_EXT=0` switches it off.

Errors of this package end as one message without a traceback. In a distributed run several processes may meet the
same error, and their parents fail in turn: a folder named by an environment variable tells them what has been said.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType
from typing import Any

KILL_SWITCH = "LLAMAFACTORY_EXT"
DEBUG = "LLAMAFACTORY_EXT_DEBUG"
ERROR_FOLDER = "LLAMAFACTORY_EXT_ERROR_FOLDER"
ATTEMPT = "TORCHELASTIC_RESTART_COUNT"
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
        try:
            from llamafactory_ext.upstream.patches.table import apply_patches
        except ImportError as error:
            raise ImportError(
                f"llamafactory_ext is installed but cannot be imported ({error}); reinstall it, or set "
                f"{KILL_SWITCH}=0 to run LLaMA-Factory without it."
            ) from error
        apply_patches(module)

    def __getattr__(self, name: str) -> Any:
        """Everything else a loader may offer (get_source, get_data, ...) is the original's."""
        return getattr(self.original, name)


class PatchingFinder(MetaPathFinder):
    """Finds the modules to patch with the other finders and wraps their loaders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of the table, with our loader; None for all others."""
        if fullname == V1_LAUNCHER and os.environ.get("USE_V1", "").lower() in ("1", "true", "y"):
            sys.exit(
                "USE_V1=1 selects LLaMA-Factory's other argument system, which llamafactory_ext does not support. "
                f"Unset USE_V1, or set {KILL_SWITCH}=0 to use it without llamafactory_ext."
            )
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
    if os.environ.get(KILL_SWITCH) == "0" or is_active():
        return
    sys.meta_path.insert(0, PatchingFinder())
    if ERROR_FOLDER in os.environ:  # torchrun itself never imports what we patch, yet repeats its children's failure
        install_excepthook()


def install_excepthook() -> None:
    """Chain our exception hook in front of the present one, once."""
    previous = sys.excepthook
    if getattr(previous, "of_llamafactory_ext", False):
        return

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ours = None if os.environ.get(DEBUG) == "1" else _find_our_error(error)
        if ours is not None:
            report(ours)
        elif os.environ.get(DEBUG) == "1" or not error_was_reported():
            previous(kind, error, trace)

    excepthook.of_llamafactory_ext = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def report(error: Any) -> None:
    """Print the message of one of our errors, unless another process of this run has already printed the same."""
    text = f"{type(error).__name__}: {error.message}"
    folder = os.environ.get(ERROR_FOLDER)
    if folder and os.path.isdir(folder):
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{os.environ.get(ATTEMPT, '0')}"
        try:
            os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    print(text, file=sys.stderr, flush=True)


def error_was_reported() -> bool:
    """Whether a process of this distributed run has printed one of our errors; later failures follow from it."""
    folder = os.environ.get(ERROR_FOLDER)
    names = os.listdir(folder) if folder is not None and os.path.isdir(folder) else []
    # A worker that torchrun has restarted starts afresh; torchrun itself and its parent see all attempts.
    attempt = os.environ.get(ATTEMPT)
    return any(attempt is None or name.endswith(f"-{attempt}") for name in names)


@contextmanager
def error_folder() -> Iterator[None]:
    """Give this process and its children a folder in which the errors already reported are noted."""
    with tempfile.TemporaryDirectory(prefix="llamafactory_ext_") as folder:
        before = os.environ.get(ERROR_FOLDER)
        os.environ[ERROR_FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[ERROR_FOLDER]
            else:
                os.environ[ERROR_FOLDER] = before


def _find_our_error(error: BaseException) -> Any:
    """The error of our family behind `error`: itself, what it was raised from, or what a Ray worker sent."""
    errors = sys.modules.get("llamafactory_ext.errors")
    seen: Any = error
    while errors is not None and seen is not None:
        remote = getattr(seen, "cause", None)
        for candidate in (remote, seen):
            if isinstance(candidate, errors.ExtError):
                return candidate
        seen = seen.__cause__
    return None
