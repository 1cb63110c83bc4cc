"""Runs the benchmarks: `python benchmarks/run.py`; `make bench` runs all of them on the CPU."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import data_adapter
import layer
import linear
import measure
import mi
import ppo
import prepare
import rp
import scores
import table
import tl_sft
import torch
import uco
import whole
from measure import Row, write
from rich.console import Console
from setting import SHAPES, Setting

HERE = Path(__file__).parent
ROWS: dict[str, Callable[[Setting], list[Row]]] = {
    "1": layer.run,
    "3": mi.against_the_floor,
    "4": rp.run,
    "5": scores.cost,
    "6": scores.exactness,
    "7": uco.against_full_tuning,
    "8": uco.checkpointing,
    "9": mi.router_loss_in_backward,
    "10": whole.run,
    "11": tl_sft.step,
    "12": tl_sft.loss,
    "13": prepare.run,
    "14": data_adapter.linears,
    "15": data_adapter.gates,
    "16": data_adapter.against_the_floor,
    "17": scores.stand_ins,
    "linear": linear.run,
}
APART: dict[str, Callable[[Setting], list[Row]]] = {
    "ppo": ppo.run,
    "prepare": prepare.whole,
}  # measured only where `--rows` names it


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes what `--out` names: the results, and beside them the picture of row `linear`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument(
        "--rows", default=",".join(ROWS), help="row 1 brings row 2 along (default: all but ppo and prepare)"
    )
    parser.add_argument("--rounds", type=int, default=8, help="how often the variants take turns")
    parser.add_argument("--out", type=Path, help="results as JSON")
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
    rows = measured(wanted, setting, Console(width=140))
    if options.out:
        write(rows, options.out, setting.device, time.perf_counter() - start)
        data = json.loads(options.out.read_text("utf-8"))
        for row in data["rows"]:
            if row["number"] == "linear" and row["figures"]:
                linear.plot(row["settings"], options.out.with_name(f"{options.out.stem}_linear.png"))
        if options.readme:
            table.write_into(HERE / "README.md", data)


def measured(wanted: Sequence[str], setting: Setting, console: Console) -> list[Row]:
    """Runs the rows named and prints each when it is done; one that does not fit into memory says so."""
    found = []
    for name in wanted:
        start = time.perf_counter()
        try:
            rows = (ROWS | APART)[name](setting)
        except torch.OutOfMemoryError as error:
            rows = [Row(name, f"not measured: {str(error).splitlines()[0]}")]
        for row in rows:
            row.settings["seconds"] = round((time.perf_counter() - start) / len(rows), 1)
        console.print(table.as_rich(rows))
        found += rows
        gc.collect()
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()
    return found


if __name__ == "__main__":
    main()
