"""Interpreter start-up: loads `llamafactory_ext/_hook.py` by its path; importing the package would import torch."""

import os
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from typing import Any

_HOOK = "llamafactory_ext._hook"
_REPORT = "llamafactory_ext._report"  # which the hook imports


def start() -> None:
    """Called by the `.pth` or `.start` file in every process; must never stop an interpreter from starting."""
    if os.environ.get("LLAMAFACTORY_EXT") == "0" or _HOOK in sys.modules:
        return
    try:
        package = find_spec("llamafactory_ext")
        for folder in (package.submodule_search_locations or ()) if package else ():
            if os.path.isfile(os.path.join(folder, "_hook.py")):
                _load(_REPORT, folder)
                _load(_HOOK, folder).install()
                return
    except Exception as error:
        print(f"llamafactory_ext: hooks not active: {error!r}; run `llamafactory-ext doctor`.", file=sys.stderr)


def _load(name: str, folder: str) -> Any:
    """Run a module of the package without the package, and make it known under its name."""
    spec = spec_from_file_location(name, os.path.join(folder, f"{name.rpartition('.')[2]}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
