"""`make demo`: CITI beside LoRA and full fine-tuning on the embedded model, measured before and after.

Same budget means: every run sees each of the same 1,500 tool examples four times. CITI's phases need general data and
see each of 1,500 general examples four times too; the baselines train on tool data alone, as the paper's do (A.3).
For CITI that is one pass for the routers, two for the experts and one for the backbone; its importance pass comes on
top and is part of the time shown.

Runs that do not need each other go side by side, one per core. What an earlier demo finished is not done again.
"""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

from rich.console import Console

from ..checkpoint.own import claim, claim_plain, own_file, own_json
from ..errors import DataError
from ..progress import Shown
from .jobs import EndedEarly, Row, Setting, run_job
from .methods import METHODS, PACKAGE_ROOT, SHIPPED_MODEL, Method
from .report import draw_chart, print_table

NEEDED = ("examples/yaml/citi_tiny.yaml", "data/lab_tool.json", "data/lab_general.json", "data/dataset_info.json")


def _one(method: Method, setting: Setting, shown: Shown, piece: int) -> Row:
    """Run one job and show how far it is; the first failure ends the others."""

    def tell(doing: str, steps: tuple[int, int] | None) -> None:
        done, total = steps or (0, None)
        shown.tell(piece, doing, done, total)

    try:
        row = run_job(method, setting, tell)
    except BaseException:
        shown.tell(piece, "failed")
        setting.stop.set()
        raise
    shown.tell(piece, f"done, trained in {row['training_seconds']:.0f} s")
    return row


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
    missing = [str(root / name) for name in NEEDED if not (root / name).is_file()]
    if missing:
        raise DataError(f"The demo needs {', '.join(missing)}; install the package again, or run it from a clone.")
    claim_plain(out)
    claim([out / "report.json", out / "report.png"])
    out.mkdir(parents=True, exist_ok=True)
    setting, console = Setting(root, out.resolve(), limit, Event()), Console()
    workers = workers or min(os.cpu_count() or 1, len(METHODS))
    console.print(f"{len(METHODS)} runs, {workers} at a time; on two idle cores about 11 minutes. Logs: {setting.out}")
    with Shown(console) as shown, ThreadPoolExecutor(workers) as pool:
        pieces = [shown.add(method.label) for method in METHODS]
        try:
            pairs = zip(METHODS, pieces, strict=True)
            jobs = [pool.submit(_one, method, setting, shown, piece) for method, piece in pairs]
            wait(jobs)
        except BaseException:
            setting.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    for error in [job.exception() for job in jobs]:
        if error is not None and not isinstance(error, EndedEarly):
            raise error
    rows = [job.result() for job in jobs]
    print_table(rows, console)
    budget = (__doc__ or "").split("\n\n")[1]
    own_json(out / "report.json", {"base": SHIPPED_MODEL.name, "same_budget": budget, "results": rows})
    with own_file(out / "report.png") as staged, staged.open("wb") as picture:
        draw_chart(rows, picture)
    console.print(f"Written: {out / 'report.json'}, {out / 'report.png'}")
    return rows
