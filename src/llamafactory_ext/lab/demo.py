"""`make demo`: CITI beside LoRA and full fine-tuning on the embedded model, measured before and after.

Same budget means: every run sees each of the same 1,000 tool examples four times, and the mixed runs (CITI is one)
see each of the same 1,000 general examples four times too. For CITI that is one pass for the routers, two for the
experts and one for the backbone; its importance pass comes on top and is part of the time shown.

Steps that an earlier run finished are skipped.
"""

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..checkpoint.atomic import read_json, write_json
from ..errors import DataError, UpstreamError
from .evaluate import SHIPPED_MODEL, Evaluation, evaluate
from .methods import METHODS, PACKAGE_ROOT, Method
from .report import draw_chart, print_table

_STEP = re.compile(rb"(\d+)/(\d+) \[")


def _command(method: Method, output: Path) -> list[str]:
    """The command line that trains a method, from the repository's root."""
    return [
        str(Path(sys.executable).with_name("llamafactory-cli")),
        "train",
        f"examples/yaml/{method.yaml}",
        *method.overrides,
        f"output_dir={output}",
    ]


def _fingerprint(method: Method, root: Path) -> str:
    """A hash of everything that decides a run: its command, its file, the data and the base model."""
    digest = hashlib.sha256(" ".join(_command(method, Path("out"))[1:]).encode())
    used = [root / "examples/yaml" / method.yaml, *sorted((root / "data").glob("lab_*.json"))]
    for path in [*used, SHIPPED_MODEL / "model.safetensors"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _progress_of(log: Path) -> tuple[int, int] | None:
    """The last "done/total" that the training's own progress bar wrote into its log."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        found = _STEP.findall(file.read())
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def _train(method: Method, out: Path, root: Path, console: Console) -> float:
    """Runs one training to its end, with progress; returns its seconds.

    Raises:
        UpstreamError: if the command fails; the message names its log.
    """
    log = out / f"{method.name}.log"
    environment = dict(os.environ, OMP_NUM_THREADS=str(os.cpu_count() or 1), HF_HUB_OFFLINE="1")
    environment |= {"WANDB_MODE": "disabled", "CUDA_VISIBLE_DEVICES": ""}
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn())
    with log.open("wb") as file, Progress(*columns, console=console, transient=True) as progress:
        shown = progress.add_task(f"training {method.label}", total=None, state="starting")
        child = subprocess.Popen(
            _command(method, (out / method.name).resolve()), cwd=root, env=environment, stdout=file, stderr=file
        )
        try:
            while child.poll() is None:
                time.sleep(0.5)
                if (state := _progress_of(log)) is not None:
                    progress.update(shown, completed=state[0], total=state[1], state=f"{state[0]}/{state[1]}")
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    if child.returncode != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["(empty)"]
        raise UpstreamError(
            f"training {method.label} failed with exit code {child.returncode}: {last[0]}\n"
            f"Read {log}, then run the demo again; finished steps are kept."
        )
    return time.monotonic() - started


def _measure(label: str, model: Path, adapter: Path | None, limit: int, console: Console) -> Evaluation:
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress:
        shown = progress.add_task(f"measuring {label}", total=None)
        return evaluate(model, adapter, limit, lambda done, total: progress.update(shown, completed=done, total=total))


def _result(method: Method | None, out: Path, limit: int, root: Path, console: Console) -> dict[str, object]:
    """One row of the report: taken from disk if it is there and nothing has changed, made otherwise."""
    name, label = (method.name, method.label) if method else ("base", "base model")
    saved = out / f"{name}.json"
    made_from = f"{_fingerprint(method, root) if method else 'base'}/{limit}"
    if saved.exists():
        row: dict[str, object] = read_json(saved, "result of an earlier demo")
        if row.get("made_from") == made_from:
            console.print(f"{label}: taken from {saved}")
            return row
    seconds, model, adapter = 0.0, SHIPPED_MODEL, None
    if method is not None:
        seconds = _train(method, out, root, console)
        console.print(f"{label}: trained in {seconds:.0f} s")
        model, adapter = (SHIPPED_MODEL, out / method.name) if method.adapter else (out / method.name, None)
    measured = _measure(label, model, adapter, limit, console).to_dict()
    row = {"name": name, "label": label, "made_from": made_from, "training_seconds": round(seconds, 1), **measured}
    write_json(saved, row)
    return row


def demo(out: Path, limit: int = 400, root: Path = PACKAGE_ROOT) -> list[dict[str, object]]:
    """Runs the whole comparison and writes ``report.json`` and ``report.png`` into `out`.

    Args:
        out: folder for the runs, the report and the picture.
        limit: held-out items per set.
        root: the repository, whose examples/ and data/ are used.

    Raises:
        DataError: if the examples or the data are not there.
    """
    for needed in ("examples/yaml/citi_tiny.yaml", "data/lab_tool.json", "data/lab_general.json"):
        if not (root / needed).is_file():
            raise DataError(f"{root / needed} is missing; run the demo from a clone of the repository")
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    rows = [_result(method, out, limit, root, console) for method in (None, *METHODS)]
    print_table(rows, console)
    write_json(out / "report.json", {"same_budget": (__doc__ or "").strip().split("\n\n")[1], "results": rows})
    draw_chart(rows, out / "report.png")
    console.print(f"Written: {out / 'report.json'}, {out / 'report.png'}")
    return rows
