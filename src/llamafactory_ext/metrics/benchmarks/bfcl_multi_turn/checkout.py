"""A checkout of BFCL: its API classes, their documentation, one sentence of its prompts; nothing of it is copied."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ....data.files.reading import iter_records
from ....errors import DataError, OptionError

_LEADERBOARD: Final = "berkeley-function-call-leaderboard"
_SOURCES: Final = "eval_checker/multi_turn_eval/func_source_code"
MODULES: Final[Mapping[str, str]] = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
WORKER: Final = Path(__file__).with_name("worker.py")
_GET: Final = f"git clone https://github.com/ShishirPatil/gorilla, folder {_LEADERBOARD}"
_UPDATED: Final = "DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC"


@dataclass(frozen=True)
class Checkout:
    """A checkout.

    Attributes:
        root: the folder that holds the package.
        package: bfcl_eval, or bfcl up to May 2025.
    """

    root: Path
    package: str

    @property
    def readable(self) -> list[Path]:
        """Folders that the sandbox shows: the API classes, and the package mpmath by which MathAPI computes.

        Raises:
            OptionError: there is no mpmath.
        """
        found = find_spec("mpmath")
        if found is None or not found.submodule_search_locations:
            raise OptionError("BFCL's MathAPI computes by the package mpmath, which is not here: pip install mpmath.")
        return [self.root / self.package / _SOURCES, Path(found.submodule_search_locations[0])]

    def job(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what the worker needs to load classes."""
        package = f"{self.package}.{_SOURCES.replace('/', '.')}"
        modules = {name: f"{package}.{MODULES[name]}" for name in classes}
        paths = [str(self.root), str(self.readable[1].parent)]
        return {"paths": paths, "modules": list(modules.values()), "classes": list(modules.items())}

    def functions(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return the documented functions of some classes, in the published order.

        Raises:
            DataError: a file is missing or damaged.
        """
        found = []
        for name in classes:
            path = self._data / "multi_turn_func_doc" / f"{MODULES[name]}.json"
            for place, record in iter_records(path):
                if not isinstance(record, dict) or not isinstance(record.get("name"), str):
                    raise DataError(f"{path}, {place}: no function with its name; get the checkout again.")
                found.append(record)
        return found

    @property
    def updated(self) -> str:
        """The user's words in a turn that brings more functions."""
        path = self.root / self.package / "constants/default_prompts.py"
        try:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Assign) and [ast.unparse(name) for name in node.targets] == [_UPDATED]:
                    return str(ast.literal_eval(node.value))
        except (OSError, ValueError, SyntaxError):
            pass
        return "There are more functions now. Please go on with them."

    @property
    def _data(self) -> Path:
        """Where the published files lie."""
        inside = self.root / self.package / "data"
        return inside if inside.is_dir() else self.root / "data"


def find_checkout(named: Path | None, files: Path) -> Checkout:
    """Return the checkout that was named, or in which the published files lie.

    Args:
        named: by an option.
        files: the folder of the published files.

    Raises:
        OptionError: none was named, and the files lie in none.
        DataError: what was named is none.
    """
    for folder in (named, named / _LEADERBOARD) if named else (files.resolve(), *files.resolve().parents):
        for package in ("bfcl_eval", "bfcl"):
            if (folder / package / _SOURCES / "gorilla_file_system.py").is_file():
                return Checkout(folder.resolve(), package)
    if named:
        raise DataError(f"{named} is no checkout of BFCL: it has no bfcl_eval/{_SOURCES}; {_GET}.")
    raise OptionError(
        f"bfcl_multi_turn executes calls with the API classes of your own checkout, and {files} lies in none: "
        f"--checkout DIR ({_GET})."
    )
