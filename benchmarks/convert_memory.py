"""Peak memory and time of converting generated files of growing size: memory must not grow with the file.

Usage: python benchmarks/convert_memory.py [--records 1000000] [--out benchmarks/results/convert_memory.json]

Each conversion is a process of its own that runs `llamafactory-ext data convert`. Importing the package, which loads
torch, costs far more than converting; so the kernel's peak counter is reset after the import (Linux,
/proc/self/clear_refs), and what is reported is the peak, how far it rose above the resident size at the start, and the
seconds of the verb alone. Shapes: JSON lines, one JSON list on a single line, the same with a draw (`--limit`), a list
whose records are all dropped but one, and dialogues with calls. Needs about 1 GB of disk for a million records.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("llamafactory_ext", "rich", "fire")
_RUN = """
import sys, time
from pathlib import Path
import llamafactory_ext.commands.data
from llamafactory_ext.cli import main

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])

Path("/proc/self/clear_refs").write_text("5")
before, start = status("VmRSS"), time.perf_counter()
main()
print(before, status("VmHWM"), time.perf_counter() - start, file=sys.stderr)
"""


def gsm8k_lines(count: int) -> Iterator[str]:
    """GSM8K as JSON lines."""
    for n in range(count):
        yield (
            json.dumps({"question": f"What is {n} plus {n % 97}? " + "Think. " * 20, "answer": f"#### {n + n % 97}"})
            + "\n"
        )


def alpaca_list(count: int, *, empty: bool = False) -> Iterator[str]:
    """One JSON list on a single line; `empty` leaves all answers but the first empty."""
    for n in range(count):
        record = {"instruction": f"Write {n}. " + "Please. " * 20, "output": "" if empty and n else f"It is {n}."}
        yield ("[" if n == 0 else ", ") + json.dumps(record)
    yield "]"


def trajectories(count: int) -> Iterator[str]:
    """TL-Training's trajectories as a JSON list."""
    tools = json.dumps([{"type": "function", "function": {"name": "add", "parameters": {"properties": {}}}}])
    for n in range(count):
        turns = [
            ("system", tools),
            ("user", f"Add 1 to {n}."),
            ("assistant", f'add\n{{"a": {n}, "b": 1}}'),
            ("function", f'{{"sum": {n + 1}}}'),
            ("assistant", f'add\n{{"a": {n + 1}, "b": 0}}'),
        ]
        record = {"id": str(n), "conversations": [{"role": role, "content": text} for role, text in turns]}
        yield ("[" if n == 0 else ", ") + json.dumps(record)
    yield "]"


def cases(count: int) -> dict[str, tuple[str, str, Iterator[str], list[str]]]:
    """What is converted: title -> (family, file name, text, further options)."""
    return {
        "JSON lines": ("gsm8k", "train.jsonl", gsm8k_lines(count), []),
        "JSON list": ("alpaca", "list.json", alpaca_list(count), []),
        "JSON list, 5,000 drawn": ("alpaca", "list.json", alpaca_list(count), ["--limit", "5000"]),
        "JSON list, all but one dropped": ("alpaca", "list.json", alpaca_list(count, empty=True), []),
        "dialogues with calls": ("tl_training", "raw_data.json", trajectories(count), []),
    }


def measure(arguments: list[str]) -> dict[str, float]:
    """Peak, rise above the start, and seconds of one process."""
    done = subprocess.run([sys.executable, "-c", _RUN, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr}")
    before, peak, seconds = map(float, done.stderr.split()[-3:])
    return {
        "peak_mib": round(peak / 1024, 1),
        "rise_mib": round((peak - before) / 1024, 1),
        "seconds": round(seconds, 1),
    }


def run(sizes: list[int], folder: Path) -> list[dict[str, Any]]:
    """One row per case and size."""
    rows = []
    for count in sizes:
        for title, (family, file_name, text, options) in cases(count).items():
            source = folder / file_name
            with source.open("w", encoding="utf-8") as handle:
                handle.writelines(text)
            out = folder / "out"
            found = measure(["data", "convert", family, "--source", str(source), "--out", str(out), *options])
            with (out / f"{family}.json").open(encoding="utf-8") as handle:
                written = sum(1 for _ in handle) - 2  # a line for each record, and the brackets
            rows.append(
                {
                    "case": title,
                    "records": count,
                    "written": written,
                    "source_mib": round(source.stat().st_size / 2**20, 1),
                    **found,
                }
            )
            print(rows[-1], flush=True)
            for file in (source, *out.iterdir()):
                file.unlink()
    return rows


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "convert_memory.json")
    options = parser.parse_args()
    sizes = [max(options.records // 100, 1), max(options.records // 10, 1), options.records]
    with tempfile.TemporaryDirectory() as folder:
        rows = run(sizes, Path(folder))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
