"""Interpreter start-up: waits until LLaMA-Factory or PEFT is imported, and imports nothing itself.

Every `python` of the environment runs this, so it costs each of them what it needs: `sys` and `os` are there already.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_HOOK = "llamafactory_ext._hook"
_METHODS = "llamafactory_ext.methods"  # which the next one imports
_REPORT = "llamafactory_ext._report"  # which the hook imports
# In the folder that this variable names, the processes of a run of ours tell each other what has been said.
_ERROR_FOLDER = "LLAMAFACTORY_EXT_ERROR_FOLDER"


class StartFinder:
    """Find nothing, but put the import hook in place before the first module of a package that it waits for."""

    packages = ("llamafactory", "peft")

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the spec that the other finders have for one of the packages, None for all else."""
        if fullname not in self.packages or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        _plug_in()
        for finder in list(sys.meta_path):
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None


def start() -> None:
    """Wait for the packages, once; called by the `.pth` or `.start` file in every process."""
    if os.environ.get("LLAMAFACTORY_EXT") == "0" or _HOOK in sys.modules:
        return
    if not any(isinstance(finder, StartFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, StartFinder())
    if _ERROR_FOLDER in os.environ:  # torchrun itself never imports what we patch, yet repeats its children's failure
        _plug_in()


def _plug_in() -> None:
    """Load the hook by its path, so that a fault elsewhere in the package leaves it; then tell PEFT of our method.

    Whatever happens here, the import that led to it goes on.
    """
    try:
        from importlib.util import find_spec

        package = find_spec("llamafactory_ext")
        for folder in (package.submodule_search_locations or ()) if package else ():
            if os.path.isfile(os.path.join(folder, "_hook.py")):
                _load(_METHODS, folder)
                _load(_REPORT, folder)
                _load(_HOOK, folder).install()
                break
        else:
            return
    except Exception as error:
        print(f"llamafactory_ext: hooks not active: {error!r}; run `llamafactory-ext doctor`.", file=sys.stderr)
    try:
        __import__("llamafactory_ext")  # which waits for PEFT
    except Exception:  # the hook tells of it where a run needs the package
        return


def _load(name: str, folder: str) -> "ModuleType":
    """Run a module of the package without the package, and make it known under its name."""
    if name in sys.modules:
        return sys.modules[name]
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, os.path.join(folder, f"{name.rpartition('.')[2]}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
