"""Examples as a web page of its own or a part of one (LLaMA Board): coloured tokens, legend, counts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .pieces import KEY, LEGEND, MASKED, Example, Piece, visible

_STYLE = """
.lfx-preview{color:#1f2430;background:#fff;font:14px/1.5 system-ui,sans-serif;padding:12px;max-width:1100px}
.lfx-preview h2{font-size:15px;margin:22px 0 6px}
.lfx-preview .legend,.lfx-preview .counts{display:flex;flex-wrap:wrap;gap:4px 14px;margin:4px 0}
.lfx-preview .counts{color:#5b6475;font-size:13px}
.lfx-preview pre{font:13px/1.7 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin:0;
padding:10px;border:1px solid #d6dae2;border-radius:6px;background:#fbfbfd;color:#1f2430}
.lfx-preview .m{color:#6b7280}
.lfx-preview .u{color:#6b7280;text-decoration:line-through}
.lfx-preview .o{background:#cfeeda;box-shadow:inset 1px 0 #a5d8b8}
.lfx-preview .d{background:#fbd5d5;text-decoration:line-through;box-shadow:inset 1px 0 #eda9a9}
.lfx-preview .k{background:#ffb938;font-weight:700;box-shadow:inset 0 -2px #b45309}
.lfx-preview .k sup{font-size:9px;line-height:0;color:#7c2d12}
.lfx-preview .s{font-style:italic}
.lfx-preview .badge{color:#fff;border-radius:9px;padding:1px 9px;font-size:12px;font-weight:600}
.lfx-preview .tool{background:#b93a4d}.lfx-preview .general{background:#2e6f95}
.lfx-preview .problem{color:#a11}
"""
_CLASSES = {kind: kind[0] for kind in LEGEND}


def preview_html(examples: Sequence[Example], title: str, *, page: bool = True) -> str:
    """Return examples as HTML that needs nothing else: no script, no font, no address. All texts are escaped.

    Args:
        examples: what `preview.previews` gives.
        title: stands above them.
        page: a whole page; False: a `<div>` with its style for a page that exists, as LLaMA Board's.
    """
    kinds = [kind for kind in LEGEND if any(kind in example.counts() for example in examples)]
    legend = "".join(f'<span class="{_CLASSES[kind]}">{escape(LEGEND[kind])}</span>' for kind in kinds)
    body = "\n".join(
        [
            f'<div class="lfx-preview"><h1 style="font-size:18px;margin:0">{_text(title)}</h1>',
            f'<div class="legend">{legend}</div>',
            *(_example(example) for example in examples),
            "</div>",
        ]
    )
    if not page:
        return f"<style>{_STYLE}</style>\n{body}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


def _example(example: Example) -> str:
    badge = f' <span class="badge {example.mark}">{example.mark}</span>' if example.mark else ""
    task = f" task {_text(example.task)}" if example.task else ""
    head = f"<h2>{_text(example.place)}{badge}{task}</h2>"
    if example.problem:
        return f'{head}\n<p class="problem">{_text(example.problem)}</p>'
    counts = [f"<span>{count:,} {kind}</span>" for kind, count in example.counts().items()]
    if example.cut:
        counts.append(f"<span>{example.cut:,} more cut off by cutoff_len</span>")
    counts += [f'<span class="problem">{_text(what)}</span>' for what in example.lost]
    tokens = "".join(map(_piece, example.pieces))
    # A line feed right behind <pre> would be swallowed.
    return f'{head}\n<div class="counts">tokens: {"".join(counts)}</div>\n<pre>\n{tokens}</pre>'


def _piece(piece: Piece) -> str:
    names = _CLASSES[piece.kind] + (" s" if piece.special else "")
    about = "id " + " ".join(map(str, piece.ids)) + ("" if piece.kind == MASKED else f", weight {piece.weight:.4g}")
    text = _text(piece.text).replace("\n", "↵\n") or "∅"
    if piece.learned_as:
        text += f"→{_text(piece.learned_as)}"
    if piece.kind == KEY:
        text += f"<sup>{piece.weight:.3g}</sup>"
    return f'<span class="{names}" title="{about}">{text}</span>'


def _text(text: str) -> str:
    return escape(visible(text))
