"""The report as Markdown and as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from .runs import Run
from .tables import DETAIL_COLUMNS, MEAN, Table, details, heading, written

EXPLAINED: Final = (
    "Bold rows are ours, in per cent ± one standard error over items; the others stand as printed in the papers. "
    "“–” means not measured. “official” repeats the published evaluator's verdicts and is what the papers' figures "
    "compare with; “strict” is what the score should be. A partial run is marked; its figures are over the items "
    f"that have a prediction. “{MEAN}” is formed here for all rows, over GSM, HE, TQA and MT, only where all four are "
    "whole. MT is in per cent of 10; the last table names the judge."
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MARKUP: Final = re.compile(r"[|\[\]`<>\\]")
_ENTITIES: Final = {"<": "&lt;", ">": "&gt;"}
CSS: Final = """
:root{color-scheme:light dark;--fg:#1d2733;--bg:#fff;--line:#d5dbe3;--soft:#f4f6f9;--ours:#fbeaec;--accent:#b3374a}
@media(prefers-color-scheme:dark){:root{--fg:#e4e9f0;--bg:#14181e;--line:#36404c;--soft:#1c222a;--ours:#3a2127;
--accent:#f08a9a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:76rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem}.source{color:#7b8794;font-size:.88rem;margin:0 0 .5rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.28rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{background:var(--soft)}th:first-child,td:first-child{text-align:left}
tr.ours td{background:var(--ours);font-weight:600}.partial{color:var(--accent)}
img{max-width:100%;height:auto;background:#fff;border-radius:6px}figure{margin:1rem 0}
footer{color:#7b8794;font-size:.85rem;margin:3rem 0 1rem}
"""


def markdown(tables: Sequence[Table], runs: Sequence[Run], pictures: Mapping[str, Path]) -> str:
    """Return the report as Markdown; pictures are named as files beside it."""
    parts = ["# Figures beside the papers'", "", EXPLAINED, ""]
    for title, path in pictures.items():
        parts += [f"![{title}]({path.name})", ""]
    for table in tables:
        parts += [f"## {table.title}", "", f"{table.source}.", ""]
        parts += _lines(
            ("", *map(heading, table.columns)), [_row_texts(table, row_number) for row_number in _rows(table)]
        )
    parts += ["## What each figure rests on", "", *_lines(DETAIL_COLUMNS, details(runs))]
    notes = _notes(runs)
    parts += ["## Notes", "", *(f"- {_literal(note)}" for note in notes), ""] if notes else []
    return "\n".join(parts)


def html(tables: Sequence[Table], runs: Sequence[Run], pictures: Mapping[str, Path]) -> str:
    """Return the report as one page; pictures are inside it."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Figures beside the papers'</title><style>{CSS}</style></head><body>",
        f"<h1>Figures beside the papers'</h1><p>{escape(EXPLAINED)}</p>",
    ]
    for title, path in pictures.items():
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}"></figure>')
    for table in tables:
        parts.append(f'<h2>{escape(table.title)}</h2><p class="source">{escape(table.source)}</p>')
        parts.append(_html_table(table))
    parts.append("<h2>What each figure rests on</h2>")
    parts.append(_plain_table(DETAIL_COLUMNS, details(runs)))
    notes = _notes(runs)
    if notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>")
    parts.append("<footer>llamafactory-ext report</footer></body></html>\n")
    return "\n".join(parts)


def _rows(table: Table) -> range:
    return range(len(table.rows))


def _row_texts(table: Table, number: int) -> tuple[str, ...]:
    row = table.rows[number]
    name = f"{row.group}: {row.name}" if row.group else row.name
    texts = (name, *(written(row, place) for place in range(len(table.columns))))
    return tuple(f"**{text}**" for text in texts) if row.is_ours else texts


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table in Markdown."""
    head = [_line(columns), "|" + "---|" * len(columns)]
    return [*head, *(_line(row) for row in rows), ""]


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(_literal(text) for text in texts) + " |"


def _literal(text: str) -> str:
    """Return text of others in Markdown: no markup, no links, no page's tags, one line."""
    text = " ".join(_CONTROL.sub(" ", text).split())
    return _MARKUP.sub(lambda found: _ENTITIES.get(found[0]) or f"\\{found[0]}", text)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in ("", *map(heading, table.columns)))
    lines = [f"<tr>{head}</tr>"]
    for row in table.rows:
        name = f"{row.group}: {row.name}" if row.group else row.name
        cells = [f"<td>{escape(name)}</td>"]
        for place in range(len(table.columns)):
            cell = row.cells[place] if row.is_ours else None
            about = escape(f"n = {cell.n}, {cell.parse_failures} not parsed") if cell is not None else ""
            hint = f' title="{about}"' if about else ""
            mark = ' class="partial"' if cell is not None and cell.partial else ""
            cells.append(f"<td{hint}{mark}>{escape(written(row, place))}</td>")
        kind = ' class="ours"' if row.is_ours else ""
        lines.append(f"<tr{kind}>{''.join(cells)}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(text)}</th>" for text in columns) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _notes(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(f"{run.label}: {note}" for run in runs for note in run.notes))
