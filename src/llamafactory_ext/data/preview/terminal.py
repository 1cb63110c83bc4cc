"""Examples on a terminal: coloured tokens; where there are no colours, one labelled paragraph for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from .pieces import DROPPED, KEY, LEGEND, MASKED, ORDINARY, SILENCED, Example, Piece, visible

_STYLES = {
    MASKED: "bright_black",
    SILENCED: "strike bright_black",
    DROPPED: "strike red",
    ORDINARY: "green",
    KEY: "bold black on yellow",
}
_MARKS = {"tool": "bold white on red", "general": "bold white on blue"}


def show_preview(examples: Sequence[Example], title: str, console: Console) -> None:
    """Print legend, examples and totals; lines break at the terminal's width, never within a colour's name or code."""
    coloured = console.color_system is not None
    console.print(Text(visible(title), "bold"))
    if coloured:
        kinds = [kind for kind in LEGEND if any(kind in example.counts() for example in examples)]
        console.print(Text("   ").join(Text(LEGEND[kind], _STYLES[kind]) for kind in kinds))
    for example in examples:
        console.print()
        console.print(_head(example), soft_wrap=not console.is_terminal)  # files and pipes get whole lines
        if not example.problem:
            for line in _coloured(example.pieces) if coloured else _labelled(example.pieces):
                console.print(line, soft_wrap=not console.is_terminal)


def _head(example: Example) -> Text:
    head = Text(visible(example.place), "bold")
    if example.mark:
        head.append(" ").append(f" {example.mark} ", _MARKS[example.mark])
        head.append(f" task {visible(example.task)}", "not bold")
    if example.problem:
        return head.append(f": {visible(example.problem)}", "not bold red")
    counts = ", ".join(f"{count:,} {kind}" for kind, count in example.counts().items())
    head.append(f": tokens: {counts}", "not bold")
    if example.cut:
        head.append(f"; {example.cut:,} more cut off by cutoff_len", "not bold")
    for what in example.lost:
        head.append(f"; {visible(what)}", "not bold red")
    return head


def _coloured(pieces: Sequence[Piece]) -> list[Text]:
    text = Text()
    for (kind, special, weight), group in groupby(pieces, key=lambda piece: (piece.kind, piece.special, piece.weight)):
        style = _STYLES[kind] + (" italic" if special else "")
        text.append("".join(map(_shown, group)), style)
        if kind == KEY:
            text.append(f"×{weight:.3g}", "yellow")
    return [text]


def _labelled(pieces: Sequence[Piece]) -> list[Text]:
    lines = []
    for (kind, weight), group in groupby(pieces, key=lambda piece: (piece.kind, piece.weight)):
        label = f"[{kind} ×{weight:.3g}] " if kind == KEY else f"[{kind}] "
        lines.append(Text(label + "".join(map(_shown, group))))
    return lines


def _shown(piece: Piece) -> str:
    return visible(piece.text) + (f"→{visible(piece.learned_as)}" if piece.learned_as else "")
