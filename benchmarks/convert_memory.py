"""Peak memory and time of converting generated files of growing size: memory must not grow with the file.

Usage: python benchmarks/convert_memory.py [--sizes 10000,200000] [--only xlam,toolace] [--out FILE.json]

Each conversion is a process of its own that runs `llamafactory-ext data convert`. Importing the package, which loads
torch, costs far more than converting; so the kernel's peak counter is reset after the import (Linux,
/proc/self/clear_refs), and what is reported is the peak, how far it rose above the resident size at the start, and the
seconds of the verb alone. Shapes: JSON lines, one JSON list on a single line, the same with a draw (`--limit`), a list
whose records are all dropped but one, and dialogues with calls of five data sets. Two of those have a defect in each
tenth record, which is dropped or a finding. `ratios` divides the figures at the largest size by those at the smallest.
Needs about 3 GB of disk for a million records.
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

PACKAGES = ("llamafactory_ext", "rich")
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


def listed(records: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One JSON list on a single line."""
    for n, record in enumerate(records):
        yield ("[" if n == 0 else ", ") + json.dumps(record)
    yield "]"


def _tool(name: str, parameters: Any) -> dict[str, Any]:
    return {"name": name, "description": f"{name} two numbers.", "parameters": parameters}


def xlam(count: int) -> Iterator[dict[str, Any]]:
    """xLAM-60k: one to three calls; the arguments of each tenth record are no object."""
    number = {"description": "A number.", "type": "int"}
    more = {"description": "Digits to keep.", "type": "int, optional", "default": 2}
    tools = json.dumps(
        [_tool("add", {"a": number, "b": number, "digits": more}), _tool("sum", {"l": {"type": "List[int]"}})]
    )
    for n in range(count):
        calls = [{"name": "add", "arguments": {"a": n, "b": k}} for k in range(1 + n % 3)]
        if n % 10 == 9:
            calls[-1]["arguments"] = [n, 1]
        yield {"id": n, "query": f"Add to {n}.", "answers": json.dumps(calls), "tools": tools}


def toolace(count: int) -> Iterator[dict[str, Any]]:
    """ToolACE: two calls in a turn, their results, an answer."""
    numbers = {"type": "dict", "properties": {"a": {"type": "int"}, "b": {"type": "float"}}, "required": ["a", "b"]}
    tools = json.dumps([_tool("Add Numbers", numbers), _tool("math/v2.sum", numbers)])
    system = f"You compose calls. Here is a list of functions in JSON format:\n{tools}. \nNO other text."
    for n in range(count):
        turns = [
            ("user", f"Add 1 to {n}."),
            ("assistant", f'[Add Numbers(a={n}, b=1.0), math/v2.sum(a={n}, b="1")]'),
            (
                "tool",
                json.dumps([{"name": "Add Numbers", "results": n + 1}, {"name": "math/v2.sum", "results": n + 1}]),
            ),
            ("assistant", f"It is {n + 1}."),
        ]
        yield {"system": system, "conversations": [{"from": role, "value": text} for role, text in turns]}


def hermes(count: int) -> Iterator[dict[str, Any]]:
    """Hermes function calling: Python's literals in tags; each tenth call is not closed."""
    tools = [{"type": "function", "function": _tool("add", {"type": "object", "properties": {}, "required": []})}]
    system = f"You call functions.\n<tools>\n{tools}\n</tools>\nReturn them within <tool_call></tool_call>.\n"
    for n in range(count):
        end = "" if n % 10 == 9 else "\n</tool_call>"
        call = f"<tool_call>\n{ {'arguments': {'a': n, 'b': True}, 'name': 'add'} }"
        turns = [
            ("system", system),
            ("human", f"Add 1 to {n}."),
            ("gpt", f"<scratch_pad>Twice.</scratch_pad>\n{call}\n</tool_call>\n{call}{end}"),
            ("tool", f"<tool_response>\n{n}\n</tool_response>\n<tool_response>\n{n}\n</tool_response>"),
            ("gpt", f"It is {n + 1}."),
        ]
        messages = [{"from": role, "value": text} for role, text in turns]
        yield {"id": str(n), "conversations": messages, "category": "Numbers", "subcategory": "", "task": ""}


def apigen_mt(count: int) -> Iterator[dict[str, Any]]:
    """APIGen-MT-5k: three calls, each with its observation, under a policy."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tools = json.dumps([_tool("add", schema), _tool("think", schema)])
    for n in range(count):
        turns = [("human", f"Count from {n}.")]
        for k in range(3):
            turns += [
                ("function_call", json.dumps({"name": "add", "arguments": {"a": n + k}})),
                ("observation", str(n)),
            ]
        turns.append(("gpt", f"It is {n + 3}."))
        messages = [{"from": role, "value": text} for role, text in turns]
        yield {"conversations": messages, "tools": tools, "system": "# Policy\n" + "Be exact. " * 20}


def cases(count: int) -> dict[str, tuple[str, str, Iterator[str], list[str]]]:
    """What is converted: title -> (family, file name, text, further options)."""
    return {
        "JSON lines": ("gsm8k", "train.jsonl", gsm8k_lines(count), []),
        "JSON list": ("alpaca", "list.json", alpaca_list(count), []),
        "JSON list, 5,000 drawn": ("alpaca", "list.json", alpaca_list(count), ["--limit", "5000"]),
        "JSON list, all but one dropped": ("alpaca", "list.json", alpaca_list(count, empty=True), []),
        "dialogues with calls": ("tl_training", "raw_data.json", trajectories(count), []),
        "xLAM-60k": ("xlam", "xlam.json", listed(xlam(count)), []),
        "ToolACE": ("toolace", "data.json", listed(toolace(count)), []),
        "Hermes function calling": ("hermes", "func-calling.json", listed(hermes(count)), []),
        "APIGen-MT-5k": ("apigen_mt", "apigen-mt_5k.json", listed(apigen_mt(count)), []),
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


def run(sizes: list[int], only: list[str], folder: Path) -> list[dict[str, Any]]:
    """One row per case and size; `only` names the families, none of them means all."""
    rows = []
    for count in sizes:
        for title, (family, file_name, text, options) in cases(count).items():
            if only and family not in only:
                continue
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


def ratios(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The largest size over the smallest, by case: records, peak memory, and its rise above that of the import."""
    found = {}
    for title in dict.fromkeys(row["case"] for row in rows):
        of_case = sorted((row for row in rows if row["case"] == title), key=lambda row: row["records"])
        keys = ("records", "peak_mib", "rise_mib")
        found[title] = {key: round(of_case[-1][key] / of_case[0][key], 3) for key in keys}
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--only", default="", help="families, with commas between them")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "convert_memory.json")
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.sizes.split(","))
    with tempfile.TemporaryDirectory() as folder:
        rows = run(sizes, [name for name in options.only.split(",") if name], Path(folder))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "ratios": ratios(rows),
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
