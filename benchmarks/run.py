"""Runs the benchmarks: `python benchmarks/run.py`; `make bench` runs all of them on the CPU."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import linear
import measure
import table
import torch
from measure import Row, write
from rich.console import Console
from setting import SHAPES, Setting

HERE = Path(__file__).parent
# Modules are imported when a row is run: some need LLaMA-Factory, or trl.
ROWS = {
    "1": "layer.run",
    "3": "mi.against_the_floor",
    "4": "rp.run",
    "5": "scores.cost",
    "6": "scores.exactness",
    "7": "uco.against_full_tuning",
    "8": "uco.checkpointing",
    "9": "mi.router_loss_in_backward",
    "10": "whole.run",
    "11": "tl_sft.step",
    "12": "tl_sft.loss",
    "13": "prepare.run",
    "14": "data_adapter.linears",
    "15": "data_adapter.gates",
    "16": "data_adapter.against_the_floor",
    "17": "scores.stand_ins",
    "linear": "linear.run",
}
# Measured only where `--rows` names them.
APART = {
    "ppo": "ppo.run",
    "prepare": "prepare.whole",
    "rl": "rl.run",
    "speed": "speed.against_lora",
    "importance": "speed.importance",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes what `--out` names: the results, and beside them the picture of row `linear`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument(
        "--rows", default=",".join(ROWS), help=f"row 1 brings row 2 along (default: all but {', '.join(APART)})"
    )
    parser.add_argument("--rounds", type=int, default=8, help="how often the variants take turns")
    parser.add_argument("--out", type=Path, help="results as JSON, written after every row")
    parser.add_argument("--minutes", type=float, help="begin no row after so long")
    parser.add_argument(
        "--own-clock", action="store_true", help="count this process's time alone, on a CPU that others use too"
    )
    parser.add_argument("--readme", action="store_true", help="put the results into benchmarks/README.md")
    options = parser.parse_args(arguments)
    wanted = ["1" if name == "2" else name for name in options.rows.split(",")]
    if unknown := [name for name in wanted if name not in ROWS | APART]:
        parser.error(f"--rows: there is no row {unknown[0]}; choose from {', '.join(ROWS | APART)}")
    if options.device == "cpu":
        torch.set_num_threads(1)  # two processes' worth of noise is worse than one slow core
    if options.own_clock:
        measure.clock = time.process_time
    start = time.perf_counter()
    setting = Setting(torch.device(options.device), SHAPES[options.shape], options.rounds)
    ends = start + 60 * options.minutes if options.minutes else None
    rows: list[Row] = []
    for found in measured(wanted, setting, Console(width=140), ends):
        rows += found
        if options.out:
            write(rows, options.out, setting.device, time.perf_counter() - start)
    if options.out and rows:
        data = json.loads(options.out.read_text("utf-8"))
        for row in data["rows"]:
            if row["number"] == "linear" and row["figures"]:
                linear.plot(row["settings"], options.out.with_name(f"{options.out.stem}_linear.png"))
        if options.readme:
            table.write_into(HERE / "README.md", data)


def found_row(name: str) -> Callable[[Setting], list[Row]]:
    """Return what measures a row."""
    module, _, function = (ROWS | APART)[name].partition(".")
    row: Callable[[Setting], list[Row]] = getattr(importlib.import_module(module), function)
    return row


def measured(
    wanted: Sequence[str], setting: Setting, console: Console, ends: float | None = None
) -> Iterator[list[Row]]:
    """Run the rows named and print each when it is done; one that does not fit into memory says so.

    Args:
        wanted: names of rows.
        setting: of all.
        console: where tables go.
        ends: when by `time.perf_counter` no further row begins.
    """
    for name in wanted:
        start = time.perf_counter()
        if ends is not None and start > ends:
            console.print(f"Row {name} was not begun: the time is over.")
            continue
        try:
            rows = found_row(name)(setting)
        except torch.OutOfMemoryError as error:
            rows = [Row(name, f"not measured: {str(error).splitlines()[0]}")]
        for row in rows:
            row.settings["seconds"] = round((time.perf_counter() - start) / len(rows), 1)
        console.print(table.as_rich(rows))
        yield rows
        gc.collect()
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
