"""Makes our PEFT methods and the exported model types known as soon as PEFT or transformers is imported.

Standard library only, so that neither `import llamafactory_ext` nor the start of an interpreter imports torch. What is
already imported is told at once.
"""

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from .methods import methods

PACKAGES = ("peft", "transformers")


def modules_of(package: str) -> tuple[str, ...]:
    """Return the modules of ours that register with another package on import."""
    if package == "transformers":
        return ("llamafactory_ext.serving.modeling",)
    return tuple(dict.fromkeys(row.adapter.peft for row in methods() if row.adapter))


class RegisteringFinder:
    """Find packages as the other finders do, and import our module after the package has run."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = set(names)

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the others' spec of a module that we wait for, None for all others."""
        if fullname not in self.names:
            return None
        self.names.discard(fullname)  # the search below comes back here
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                tell(fullname)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def tell(name: str) -> None:
    """Register with a package that has been imported; a failure is a hidden warning, as the run may not need it."""
    try:
        for module in modules_of(name):
            import_module(module)
    except Exception as error:
        warnings.warn(
            f"llamafactory_ext could not make itself known to {name} ({type(error).__name__}: "
            f"{error}); run `llamafactory-ext doctor`.",
            ImportWarning,  # hidden by default: a run that is not ours need not read it
            stacklevel=2,
        )


def install(*names: str) -> None:
    """Register with the named modules, now or when they are imported; calling it again does no harm.

    Args:
        names: of `PACKAGES`; without any, all of them.
    """
    wanted = names or PACKAGES
    imported = [name for name in wanted if _is_imported(name)]
    waiting = {name for finder in sys.meta_path if isinstance(finder, RegisteringFinder) for name in finder.names}
    if missing := tuple(name for name in wanted if name not in sys.modules and name not in waiting):
        sys.meta_path.insert(0, RegisteringFinder(missing))  # type: ignore[arg-type]
    for name in imported:  # now that a package which these bring along is waited for
        tell(name)


def _is_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)
