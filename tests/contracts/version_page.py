"""The tables of docs/versions.md, from the results of the version matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from version_cells import CELLS, SERVING, Cell, Serving

BEGIN, END = "<!-- made by tests/contracts/version_matrix.py -->", "<!-- end -->"
RUNS = {
    "install": "the packages could be installed together",
    "start": "LLaMA-Factory could be imported",
    "doctor": "`llamafactory-ext doctor` reports nothing broken",
    "lora": "plain LoRA, 2 steps",
    "citi": "CITI, 2 steps in each of its three phases",
    "tl_sft": "TL-Training's first stage, 2 steps",
    "tl_ppo": "its second stage, on from there, 2 steps",
    "export": "CITI's adapter exported; its greedy answers are the adapter's, token by token",
    "api": "an answer of CITI's adapter through `llamafactory-cli api`",
    "board": "LLaMA Board's page, with CITI in it",
    "version": "`llamafactory-cli version`",
    "untouched": "plain LoRA gives the same weights, bit for bit, with this package and without",
    "refused": "citi and tl_sft end in one line that names the version",
    "too old": "the plugin registers, and refuses an exported CITI model in one line that names what to install",
    "vllm": "tests of the vLLM plugin: greedy tokens of exported models are transformers', wrong settings are refused",
}
HEAD = ("LLaMA-Factory", "transformers", "peft", "torch", "Python", "outcome", "date", "what it stands for")
SERVING_HEAD = ("vLLM's CPU build", "transformers", "peft", "torch", "Python", "outcome", "date", "what it stands for")


def with_tables(page: str, results: dict[str, Any]) -> str:
    """The page with the tables between the two marks made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables(results)}{END}{rest.partition(END)[2]}"


def tables(results: dict[str, Any]) -> str:
    """Both tables, what the words of the column mean, and why a cell failed."""
    cells = ordered(results["cells"], CELLS, "llamafactory")
    serving = ordered(results["serving"], SERVING, "vllm")
    rows = [row(cell, upstream(cell), cell["transformers"], cell["peft"]) for cell in cells]
    served = [
        row(cell, cell["vllm"], *(cell.get("packages", {}).get(name, "") for name in ("transformers", "peft")))
        for cell in serving
    ]
    told = {name for cell in (*cells, *serving) for name in cell["runs"]}
    meaning = [f"- `{name}`: {text}" for name, text in RUNS.items() if name in told]
    failures = [f"- {line}" for cell in (*cells, *serving) for line in why_failed(cell)]
    parts = [table(HEAD, rows), table(SERVING_HEAD, served), "The runs:\n\n" + lines(meaning)]
    if failures:
        parts.append("What did not end well:\n\n" + lines(failures))
    return "\n".join(parts)


def ordered(entries: dict[str, Any], table: Sequence[Cell] | Sequence[Serving], first: str) -> list[dict[str, Any]]:
    """Newest first, by the numbers of the versions; a cell without a result has no runs."""

    def key(entry: dict[str, Any]) -> list[list[int]]:
        words = [entry[name] for name in (first, "transformers", "torch", "python") if name in entry]
        return [numbers(word) for word in words]

    missing = [asdict(cell) | {"runs": {}, "date": ""} for cell in table if cell.name not in entries]
    return sorted([*entries.values(), *missing], key=key, reverse=True)


def numbers(version: str) -> list[int]:
    """A version as numbers, for comparing."""
    if version == "main":
        return [999]
    return [int(part) for part in version.partition("+")[0].split(".")]


def upstream(cell: dict[str, Any]) -> str:
    """The release, or the version that the checkout says of itself."""
    if cell["llamafactory"] != "main":
        return str(cell["llamafactory"])
    return f"main ({cell.get('packages', {}).get('llamafactory', 'a checkout')})"


def row(cell: dict[str, Any], *first: str) -> tuple[str, ...]:
    return (*first, cell["torch"], cell["python"], outcome(cell["runs"]), cell["date"], cell["why"])


def outcome(runs: dict[str, str]) -> str:
    """Return the names of the runs that ended well, and first of those that did not."""
    if not runs:
        return "not run yet"
    runs = dict(sorted(runs.items(), key=lambda item: list(RUNS).index(item[0])))
    good = [name for name, said in runs.items() if said.startswith("ok")]
    bad = [name for name in runs if name not in good]
    if bad:
        return f"**{', '.join(bad)} failed**" + (f"; ok: {', '.join(good)}" if good else "")
    counted = [said.removeprefix("ok ") for said in runs.values() if said != "ok"]
    return " ".join(["ok: " + ", ".join(good), *counted])


def why_failed(cell: dict[str, Any]) -> list[str]:
    name = f"vLLM {cell['vllm']}" if "vllm" in cell else f"{upstream(cell)}, transformers {cell['transformers']}"
    return [f"{name}, {run}: {said}" for run, said in cell["runs"].items() if not said.startswith("ok")]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return lines(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *map(list, rows))])


def lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)
