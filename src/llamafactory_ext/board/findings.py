"""What `data check` and `data preview` find, as the data tab shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from ..data.checks.audit import Audit, Encoder, audit
from ..data.entries import DataEntry
from ..data.preview.examples import preview
from ..data.preview.html import preview_html
from ..data.preview.request import Request
from ..errors import DataError, ExtError
from .texts import message

_STYLE = "border-collapse:collapse;margin:4px 0 10px"


def shown_findings(names: Sequence[str], folder: str, encoder: Callable[[], Encoder] | None, language: str) -> str:
    """Return all findings of these data sets as HTML; what cannot be read at all is told in its place.

    Args:
        names: entries of `folder`/dataset_info.json, or files.
        folder: the data folder.
        encoder: makes what measures tokens; None leaves tokens out.
        language: of the words around the findings, which are English.
    """
    try:
        encode = encoder() if encoder is not None and names else None
    except ExtError as error:
        return _problem(error.message)
    return "\n".join(_findings(name, folder, encode, language) for name in names) or _problem(
        message("none", language)
    )


def shown_remarks(check: Callable[[Sequence[str], str], list[str]], names: Sequence[str], folder: str) -> str:
    """Return what a method asks of the data sets of a run together, as HTML; empty if nothing is missing.

    Args:
        check: the method's own; returns remarks or raises DataError.
        names: entries of `folder`/dataset_info.json.
        folder: the data folder.
    """
    try:
        remarks = check(names, folder)
    except DataError as error:
        return _problem(error.message)
    return _listed(remarks)


def shown_preview(request: Request, language: str) -> str:
    """Return examples with the weight of each token, as HTML."""
    if not request.names:
        return _problem(message("none", language))
    try:
        return preview_html(preview(request), ", ".join(request.names), page=False)
    except ExtError as error:
        return _problem(error.message)


def _findings(name: str, folder: str, encode: Encoder | None, language: str) -> str:
    try:
        result = audit(DataEntry.found(name, Path(folder)), encode)
    except DataError as error:
        return _problem(error.message)
    rows = [(message("records", language), result.records)]
    rows += [(f"{message('marked', language)} {mark}", count) for mark, count in sorted(result.marks.items())]
    rows.append((message("calls", language), result.calls))
    if encode is not None:
        rows += _tokens(result, language)
    cells = "".join(f'<tr><td>{escape(what)}</td><td align="right">{number:,}</td></tr>' for what, number in rows)
    errors = _listed(result.lines()) or f"<p>{message('no_errors', language)}</p>"
    remarks = _listed(result.remarks.lines())
    return "\n".join(
        [
            f"<h3>{escape(name)}</h3>",
            f'<table style="{_STYLE}">{cells}</table>',
            f"<h4>{message('errors', language)}</h4>",
            errors,
            f"<h4>{message('remarks', language)}</h4>{remarks}" if remarks else "",
        ]
    )


def _tokens(result: Audit, language: str) -> list[tuple[str, int]]:
    figures = {
        "tokens": result.tokens,
        "trained": result.trained,
        "longest": result.longest,
        "cut": result.cut,
        "untrained": result.untrained,
    }
    return [(message(name, language), number) for name, number in figures.items()]


def _listed(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _problem(text: str) -> str:
    return f'<pre style="white-space:pre-wrap">{escape(text)}</pre>'
