"""The table as a page: `python -m llamafactory_ext.options.fates.page > docs/options.md`."""

from __future__ import annotations

from typing import Final

from ...methods import listed, methods
from ..values import Choice, Number
from .row import METHODS, SHOWN, Fate, Row
from .table import PARTS

HEAD: Final = """# Every option of LLaMA-Factory and transformers, with our methods

Made by `python -m llamafactory_ext.options.fates.page > docs/options.md` from the table in
`src/llamafactory_ext/options/fates/`; a test keeps it current, and another tries every row (`make test-all`).

- **works**: as in LLaMA-Factory's own `stage: sft`, if that has the option.
- **refused**: the command ends before anything is loaded and gives this reason; one message lists all problems.
- **no effect**: ignored, with a warning.

A default value is never refused. If one of our stages is used with one of our types, both columns apply; for {alone}
only its own applies. If a newer version adds an option that this page lacks, a warning says so. Our own options are
described in {pages}.
"""


def page() -> str:
    """Return docs/options.md."""
    alone = listed(tuple(f"`{row.shown}`" for row in methods() if row.alone))
    pages = listed(tuple(dict.fromkeys(f"[{row.page}]({row.page})" for row in methods() if row.page)))
    parts = [HEAD.format(alone=alone, pages=pages)]
    for title, rows in PARTS.items():
        lines = [f"## {title}", "", f"| option | {' | '.join(f'`{SHOWN[method]}`' for method in METHODS)} | remarks |"]
        lines.append("|---" * (len(METHODS) + 2) + "|")
        lines += [_line(row) for row in rows]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(row: Row) -> str:
    cells = [_cell(row.fate(method), SHOWN[method]) for method in METHODS]
    return f"| `{row.name}` | {' | '.join(cells)} | {_escape('; '.join(_remarks(row)))} |"


def _cell(fate: Fate, method: str) -> str:
    text = fate.text.format(method=f"`{method}`")
    return fate.kind if not text else f"{fate.kind}: {_escape(text.removeprefix('has no effect '))}"


def _remarks(row: Row) -> list[str]:
    remarks = row.notes
    if isinstance(row.takes, Number | Choice):
        remarks.append(f"takes {row.takes}")
    if row.types:
        remarks.append(f"with finetuning_type {', '.join(row.types)}")
    if row.of:
        remarks.append(f"with {row.of}")
    if row.needs:
        remarks.append(f"needs the package {row.needs.replace('_', '-')}")
    if row.untried and "works" in {row.fate(method).kind for method in METHODS}:
        remarks.append(f"not tried: {row.untried}")
    return remarks


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
