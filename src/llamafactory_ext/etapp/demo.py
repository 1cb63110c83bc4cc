"""The mini world's demo: agents without a model through run, check and report, in seconds and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint.own import claim, claim_plain, own_json, own_text
from ..errors import OptionError
from ..metrics.report import Report, verdicts_path, write_report
from ..serving.infer.answers import check_out
from . import agents
from .cases import SHIPPED, Source, open_source
from .checking import read_acted, report_of
from .mini import load_gold
from .run import RunOptions, run

REPORT, TABLE = "report.json", "report.md"


def demo(out: Path, world: str = "mini", options: RunOptions | None = None) -> dict[str, Any]:
    """Let gold, null and random agents act in all cases; return what report.json holds.

    Args:
        out: folder of everything that is written.
        world: mini or mini-one-tool.
        options: of the runs.

    Raises:
        OptionError: another world, or something of somebody else lies in the folder.
    """
    if world not in SHIPPED:
        raise OptionError(f"--source {world}: choose one of {', '.join(SHIPPED)}; only these have a gold agent.")
    options = options or RunOptions(quiet=True)
    checked = {name: out / f"{name}.check.json" for name in agents.NAMES}
    claim_plain(out)
    claim([out / REPORT, out / TABLE, *checked.values(), *map(verdicts_path, checked.values())])
    for name in agents.NAMES:
        check_out(out / f"{name}.jsonl")
    source, gold = open_source(world), load_gold()
    rows = []
    for name in agents.NAMES:
        ask = agents.agent(name, gold)
        path = run(source, source.cases, ask, {"model": f"scripted:{name}"}, options, out / f"{name}.jsonl")
        report = _report(source, path)
        write_report(report, checked[name])
        rows.append({"agent": name, **_row(report)})
    content = {
        "source": source.name,
        "sha256": source.sha256,
        "users": len(source.worlds),
        "cases": len(source.cases),
        "agents": rows,
    }
    own_json(out / REPORT, content)
    own_text(out / TABLE, as_table(rows))
    return content


def _report(source: Source, path: Path) -> Report:
    file, acted = read_acted(source, path)
    return report_of(source, file, acted, len(source.cases))


def _row(report: Report) -> dict[str, Any]:
    values = {figure.name: figure for figure in report.figures}
    success = values["SR"]
    names = ("partial", "task", "personal", "SR without extras", "valid calls", "tool recall")
    return {
        "n": success.n,
        "success": success.value,
        "interval": list(success.interval or ()),
        **{name.replace(" ", "_"): values[name].value for name in names if name in values},
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the agents' figures as a table in Markdown."""
    lines = ["| agent | n | success | 95 % | task part | personal part |", "|---|---|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"] or (row["success"], row["success"])
        lines.append(
            f"| {row['agent']} | {row['n']} | {row['success']:.1%} | {low:.1%} to {high:.1%} | {row['task']:.1%} | "
            f"{row['personal']:.1%} |"
        )
    return "\n".join(lines) + "\n"
