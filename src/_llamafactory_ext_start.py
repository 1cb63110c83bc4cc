"""Interpreter start-up: loads `llamafactory_ext/_hook.py` by its path; importing the package would import torch."""

import os
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location

_HOOK = "llamafactory_ext._hook"


def start() -> None:
    """Called by the `.pth` or `.start` file in every process; must never stop an interpreter from starting."""
    if os.environ.get("LLAMAFACTORY_EXT") == "0" or _HOOK in sys.modules:
        return
    try:
        package = find_spec("llamafactory_ext")
        for folder in (package.submodule_search_locations or ()) if package else ():
            path = os.path.join(folder, "_hook.py")
            spec = spec_from_file_location(_HOOK, path) if os.path.isfile(path) else None
            if spec is not None and spec.loader is not None:
                module = module_from_spec(spec)
                spec.loader.exec_module(module)
                sys.modules[_HOOK] = module
                module.install()
                return
    except Exception as error:
        print(f"llamafactory_ext: hooks not active: {error!r}; run `llamafactory-ext doctor`.", file=sys.stderr)
