"""`make demo`: CITI beside LoRA and full fine-tuning on the embedded model, measured before and after.

Same budget means: every run sees each of the same 300 tool examples four times. CITI, and the baselines with general
data, see each of the same 900 general examples four times too; the others train on tool data alone, as the paper's do.
For CITI that is one pass for the routers, two for the experts and one for the backbone; its importance pass comes on
top and is part of the time shown.

Runs that do not need each other go side by side, one per core. What an earlier demo finished is not done again.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Event

from rich.console import Console

from ..checkpoint.own import claim, claim_plain, own_file, own_json
from ..errors import DataError
from .jobs import Row, Setting, files_of, run_side_by_side
from .methods import METHODS, PACKAGE_ROOT, SHIPPED_MODEL
from .place import held
from .report import draw_chart, print_table

NEEDED = ("examples/yaml/citi_tiny.yaml", "data/lab_tool.json", "data/lab_general.json", "data/dataset_info.json")


def check_there(root: Path, needed: Iterable[str]) -> None:
    """Make sure that the examples and the data lie in the repository or the installed package.

    Raises:
        DataError: one is missing.
    """
    missing = [str(root / name) for name in needed if not (root / name).is_file()]
    if missing:
        raise DataError(f"This needs {', '.join(missing)}; install the package again, or run it from a clone.")


def demo(out: Path, limit: int = 400, root: Path = PACKAGE_ROOT, workers: int | None = None) -> list[Row]:
    """Run the whole comparison and write ``report.json`` and ``report.png`` into `out`.

    Args:
        out: folder for the runs, the report and the picture.
        limit: held-out items per set.
        root: the repository, whose examples/ and data/ are used.
        workers: runs at a time; None takes one per core.

    Raises:
        DataError: if the examples or the data are not there.
    """
    check_there(root, NEEDED)
    claim_plain(out)
    claim([out / "report.json", out / "report.png"])
    setting, console = Setting(root, out.resolve(), limit, Event()), Console()
    workers = workers or min(os.cpu_count() or 1, len(METHODS))
    with held(out, files_of(METHODS)):
        console.print(f"{len(METHODS)} runs, {workers} at a time; on two cores about 6 minutes. Logs: {setting.out}")
        rows = run_side_by_side(METHODS, setting, workers, console)
    print_table(rows, console)
    budget = (__doc__ or "").split("\n\n")[1]
    own_json(out / "report.json", {"base": SHIPPED_MODEL.name, "same_budget": budget, "results": rows})
    with own_file(out / "report.png") as staged, staged.open("wb") as picture:
        draw_chart(rows, picture)
    console.print(f"Written: {out / 'report.json'}, {out / 'report.png'}")
    return rows
