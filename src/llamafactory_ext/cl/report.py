"""A comparison as Markdown, as one HTML page that needs nothing else, as pictures and as JSON."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import write_text
from ..report.writing import CSS
from .pictures import pictures
from .tables import EXPLAINED, Table, tables

# Signs that begin markup or end a cell; an underscore within a word does neither.
_MARKUP: Final = re.compile(r"[|`*\[\]<>\\]|(?<![^\W_])_|_(?![^\W_])")
_CAPTIONS: Final = {
    "heatmap.png": "Score on each task after each task",
    "curves.png": "Scores as tasks arrive; bars are deviations over seeds",
    "gates.png": "Gates: mean and deviation over tokens",
}


def write_report(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write report.md, report.html and the pictures beside result.json; return their paths.

    Args:
        result: what `run_plan` returned.
        out: the comparison's folder.
    """
    images = {}
    for name, figure in pictures(result).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120, format="png")
        images[name] = buffer.getvalue()
        (out / name).write_bytes(images[name])
    write_text(out / "report.md", as_markdown(result, list(images)))
    write_text(out / "report.html", as_page(result, images))
    return [out / name for name in ("report.md", "report.html", *images)]


def as_markdown(result: Mapping[str, Any], images: list[str] | None = None) -> str:
    """Return the comparison as Markdown: the figures of every method, then every matrix.

    Args:
        result: what `run_plan` returned.
        images: names of the pictures beside it.
    """
    first, *others = tables(result)
    names = ", ".join(_cell(name) for name in result["tasks"])
    parts = [f"# {_cell(str(result['name']))}", "", f"Tasks in order: {names}.", "", *_lines(first), "", EXPLAINED]
    for table in others:
        parts += ["", f"## {_cell(table.title)}", "", *_lines(table)]
    if images:
        parts += ["", "## Pictures", ""]
        parts += [f"![{_CAPTIONS[name]}]({name})" for name in images]
    return "\n".join(parts) + "\n"


def as_page(result: Mapping[str, Any], images: Mapping[str, bytes]) -> str:
    """Return the comparison as one HTML page with its pictures inside.

    Args:
        result: what `run_plan` returned.
        images: PNG files by name.
    """
    title = escape(str(result["name"]))
    first, *others = tables(result)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{CSS}</style></head><body>",
        f"<h1>{title}</h1><p>Tasks in order: {escape(', '.join(result['tasks']))}.</p>",
        _html(first),
        f"<p>{escape(EXPLAINED)}</p>",
    ]
    for name, image in images.items():
        data = base64.b64encode(image).decode()
        caption = escape(_CAPTIONS[name])
        picture = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        parts.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    parts += [f"<h2>{escape(table.title)}</h2>{_html(table)}" for table in others]
    parts.append("<footer>llamafactory-ext cl run</footer></body></html>\n")
    return "\n".join(parts)


def _lines(table: Table) -> list[str]:
    heads = "| " + " | ".join(_cell(text) for text in table.columns) + " |"
    rows = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in table.rows]
    return [heads, "|" + "---|" * len(table.columns), *rows]


def _html(table: Table) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(text)}</th>" for text in table.columns) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cell(text: str) -> str:
    """Return a text that cannot end a cell or begin markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
