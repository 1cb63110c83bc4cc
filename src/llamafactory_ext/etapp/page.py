"""Runs side by side: a table with intervals, paired differences, a heat map, and every trajectory, as one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..checkpoint.own import claim, claim_plain, own_json, own_text
from ..errors import DataError, OptionError, printable
from ..metrics.report import Figure
from ..report.tables import published
from .cases import Source
from .checking import Acted, read_acted, report_of, values_of
from .compared import Run, compared, difference_line, figures_of, judge_lines, judges_of, not_compared
from .groups import KINDS, grouped
from .judges import judgements
from .whole import settings_of

FILES = ("report.md", "report.json", "report.html")
_PAPER = "etapp-"
_MOST_SHOWN = 4000
_NAMED = (
    "model",
    "served_model",
    "temperature",
    "max_new_tokens",
    "trials",
    "most_turns",
    "faults",
    "seed",
    "prompts",
)
_CSS = """
:root{color-scheme:light dark;--fg:#1d2733;--bg:#fff;--line:#d5dbe3;--soft:#f4f6f9;--bad:#b3374a}
@media(prefers-color-scheme:dark){:root{--fg:#e4e9f0;--bg:#14181e;--line:#36404c;--soft:#1c222a;--bad:#f08a9a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:76rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.28rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{background:var(--soft)}
li,p,pre,summary{overflow-wrap:anywhere}
.failed{color:var(--bad);font-weight:600}pre{white-space:pre-wrap;background:var(--soft);padding:.5rem;font-size:.8rem}
"""


def read_runs(source: Source, words: Sequence[str]) -> list[Run]:
    """Read `[NAME=]FILE` words; a judge's report beside a file belongs to it.

    Raises:
        OptionError: no words, or one name for two files.
        DataError: a file is missing, malformed, or of a reference sandbox beside a strict one.
    """
    if not words:
        raise OptionError("etapp report: name at least one file of `etapp run`, as NAME=FILE.")
    runs = [_run(source, word) for word in words]
    names = [run.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise OptionError(f"etapp report: {twice[0]} names two files; give each a name, as NAME=FILE.")
    modes = {str(one.episode["sandbox"]) for run in runs for one in run.acted}
    if len(modes) > 1:
        raise DataError(
            "the runs are of strict and of reference sandboxes, which no table may mix; report them apart."
        )
    return runs


def _run(source: Source, word: str) -> Run:
    name, found, path = word.partition("=")
    if found and not (name.strip() and path):
        raise OptionError(f"etapp report: {word!r} lacks a name or a file; write NAME=FILE, or FILE alone.")
    file = Path(path if found else word)
    predictions, acted = read_acted(source, file)
    judged, left_out = judgements(file, predictions.sha256)
    notes = (*_settings(settings_of(file)), *left_out)
    checked = report_of(source, predictions, acted, len(source.cases))
    return Run(name if found else file.stem, tuple(acted), checked, tuple(judged), notes)


def _settings(told: Mapping[str, Any]) -> list[str]:
    """Return a note on how a run was done, so that what differs beside the model can be seen."""
    named = [f"{name.replace('_', ' ')} {_short(told[name])}" for name in _NAMED if told.get(name) not in (None, "")]
    return [f"run with {', '.join(named)}"] if named else []


def write(source: Source, runs: Sequence[Run], folder: Path, inputs: Sequence[Path] = ()) -> list[Path]:
    """Write the page, its table in Markdown, and all figures as JSON.

    Raises:
        OptionError: something of somebody else lies there.
    """
    paths = [folder / name for name in FILES]
    claim_plain(folder)
    claim(paths, inputs=inputs)
    found = compared(runs)
    told = {"judges": judges_of(runs), "differences": found, "not_compared": not_compared(runs)}
    own_text(paths[0], markdown(runs, found))
    own_json(paths[1], {"runs": [_json(run) for run in runs], **told})
    own_text(paths[2], html(source, runs, found))
    return paths


def _json(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "checks": run.report.to_json(),
        "groups": grouped(run.acted),
        "judges": [one.report.to_json() for one in run.judgements],
    }


def _table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    judges = judges_of(runs)
    found = [figures_of(run, judges) for run in runs]
    rows = [
        [name, *(_written(one.get(name)) for one in found)] for name in dict.fromkeys(n for one in found for n in one)
    ]
    return ["figure", *(run.name for run in runs)], rows


def _group_tables(runs: Sequence[Run]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return for each kind of group a title, a head and rows: success and episodes of each run."""
    found = [{(row["kind"], row["group"]): row for row in grouped(run.acted)} for run in runs]
    tables = []
    for kind in KINDS:
        names = list(dict.fromkeys(name for rows in found for of, name in rows if of == kind))
        cells = [[name, *(_share(rows.get((kind, name))) for rows in found)] for name in names]
        tables.append((f"By {kind}", [kind, *(run.name for run in runs)], cells))
    return tables


def _share(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    if row["SR"] is None:
        return f"no figure, {row['episodes']} episodes"
    return f"{row['SR']:.1%}, n = {row['checked']}"


def _written(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    bounds = f" ({figure.interval[0]:.1%} to {figure.interval[1]:.1%})" if figure.interval else ""
    return f"{figure.value:.1%}{bounds}, n = {figure.n}"


def _papers() -> list[str]:
    """Return one line for each of the paper's tables that has rows, or one line for all where none has."""
    tables = [table for table in published() if table.id.startswith(_PAPER)]
    filled = [f"{table.title} ({table.source}): {len(table.rows)} rows" for table in tables if table.rows]
    return filled or ["none: the paper's tables could not be obtained, so nothing stands beside these figures"]


def _notes(runs: Sequence[Run]) -> list[str]:
    notes = [f"{run.name}: {note}" for run in runs for note in run.report.notes]
    notes += [f"{run.name}: {note}" for run in runs for one in run.judgements for note in one.report.notes]
    notes += [f"{run.name}: {note}" for run in runs for note in run.notes]
    return list(dict.fromkeys(notes))


def _said(runs: Sequence[Run], found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what stands below the table: who judged, what differs, and what is not compared."""
    return [*judge_lines(runs), *map(difference_line, found), *not_compared(runs)]


def markdown(runs: Sequence[Run], found: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as Markdown."""
    head, rows = _table(runs)
    lines = ["# Agents in ETAPP", "", *(f"{_plain(text)}\n" for text in _partial(runs))]
    lines += [_line(head), "|" + "---|" * len(head), *map(_line, rows), ""]
    lines += [f"- {_plain(text)}" for text in _said(runs, found)]
    for title, names, cells in _group_tables(runs):
        lines += ["", f"## {title}", "", _line(names), "|" + "---|" * len(names), *map(_line, cells)]
    lines += ["", "## The paper's figures", "", *(f"- {_plain(text)}" for text in _papers())]
    return "\n".join([*lines, "", "## Notes", "", *(f"- {_plain(note)}" for note in _notes(runs)), ""])


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, texts)) + " |"


def _plain(text: str) -> str:
    return " ".join(escape(printable(text), quote=False).replace("|", "\\|").replace("`", "'").split())


def html(source: Source, runs: Sequence[Run], found: Sequence[Mapping[str, Any]]) -> str:
    """Return everything as one page that needs nothing else."""
    head, rows = _table(runs)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Agents in ETAPP</title><style>{_CSS}</style></head><body><h1>Agents in ETAPP</h1>",
        _contents(runs),
        *[f"<p><strong>{escape(text)}</strong></p>" for text in _partial(runs)],
        '<h2 id="figures">Figures</h2>',
        _html_table(head, rows),
        _list(_said(runs, found)),
        '<h2 id="groups">Success by group</h2>',
        *(f"<h3>{title}</h3>{_html_table(names, cells)}" for title, names, cells in _group_tables(runs)),
        '<h2 id="paper">The paper\'s figures</h2>',
        _list(_papers()),
    ]
    for place, run in enumerate(runs):
        parts += [f'<h2 id="run-{place}">{escape(run.name)}</h2>', "<h3>Success by instruction and user</h3>"]
        parts += [_heat(source, run), f'<h3 id="trajectories-{place}">Trajectories</h3>']
        parts += [_trajectory(run, one) for one in run.acted]
    parts += ['<h2 id="notes">Notes</h2>', _list(_notes(runs)), "</body></html>\n"]
    return "\n".join(parts)


def _contents(runs: Sequence[Run]) -> str:
    """Return links to all parts of the page."""
    links = [("figures", "Figures"), ("groups", "Success by group"), ("paper", "The paper's figures")]
    for place, run in enumerate(runs):
        links += [(f"run-{place}", run.name), (f"trajectories-{place}", f"{run.name}: trajectories")]
    links.append(("notes", "Notes"))
    shown = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in links)
    return f'<nav aria-label="Contents"><ul>{shown}</ul></nav>'


def _partial(runs: Sequence[Run]) -> list[str]:
    """Return a line for each report that does not cover all cases."""
    told = []
    for run in runs:
        reports = [("checks", run.report), *(("judge", one.report) for one in run.judgements)]
        for what, report in reports:
            if report.partial:
                whole = f"{report.n_predictions} of {report.n_references} cases"
                told.append(f"PARTIAL: {run.name}, {what}: {whole} are complete")
    return list(dict.fromkeys(told))


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(text)}</th>" for text in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""


def _heat(source: Source, run: Run) -> str:
    shares = values_of(run.acted, "SR")
    users, numbers = list(source.worlds), sorted({case.number for case in source.cases})
    lines = ["<tr><th>instruction</th>" + "".join(f"<th>{escape(user)}</th>" for user in users) + "</tr>"]
    for number in numbers:
        cells = []
        for user in users:
            share = shares.get((user, number))
            if share is None:
                cells.append("<td>–</td>")
                continue
            hue = round(120 * share)
            cells.append(f'<td style="background:hsl({hue} 60% 50% / .45)">{share:.0%}</td>')
        lines.append(f"<tr><td>{number:02d}</td>{''.join(cells)}</tr>")
    return f'<div class="wide"><table class="heat">{"".join(lines)}</table></div>'


def _trajectory(run: Run, one: Acted) -> str:
    mark = "" if one.outcome is None else " · success" if one.outcome.success else " · no success"
    mark += f" · {one.case.degraded}" if one.case.degraded else ""
    parts = [
        f"<details><summary>{escape(one.prediction.id)}{escape(mark)} · {escape(str(one.episode['end']))}</summary>"
    ]
    parts.append(f"<p>{escape(one.case.query)}</p><ol>")
    for call in one.episode["calls"]:
        text = f"{call['name']}({_short(call['arguments'])})"
        kind = ' class="failed"' if call["failed"] else ""
        suffix = f" – {call['failed']}" if call["failed"] else " – changed something" if call["effect"] else ""
        parts.append(f"<li{kind}>{escape(text + suffix)}</li>")
    parts.append(f"</ol><pre>{escape(one.prediction.prediction[:_MOST_SHOWN])}</pre>")
    if one.outcome is not None:
        shown = [f"{'holds' if c.holds else 'FAILS'}: {c.about}" for c in one.outcome.conditions]
        parts.append(_list([*shown, *(f"nobody asked for: {_short(effect)}" for effect in one.outcome.collateral)]))
    for judged in run.judgements:
        if (verdict := judged.verdicts.get(one.prediction.id)) is not None:
            who = f"judge {judged.judge['model']}" if judged.judge["model"] else "judge"
            parts.append(f"<p>{escape(who)}: {escape(verdict.detail[:_MOST_SHOWN])}</p>")
    return "".join(parts) + "</details>"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:297] + "..."
