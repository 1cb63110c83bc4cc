"""Take the python code that solves a problem out of a chat answer.

The answer may state the whole function or only its body, in fenced blocks or between prose. The block counts that
defines the function, the last of several; then python's, then one without a language; other languages never.

The function must stand at the margin, as HumanEval's tests and the published evaluators (human-eval, OpenCompass,
EvalPlus) call it by its name. A method of a `class Solution`, the way of LeetCode, is no such function and fails.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from ..thoughts import final_text

_OPENING = re.compile(r"^(?P<before>.*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
_LANGUAGE = re.compile(r"[\s{.]*([A-Za-z][A-Za-z+#]*)")
_PYTHON = frozenset(("python", "py", "ipython", "cpython", "pycon", "pyi", "sage"))
# A line at the margin that begins a statement of a module; other such lines are taken for prose.
_STATEMENT = re.compile(
    r"import [\w.]+(?:\s*,\s*[\w.]+)*(?: as \w+)?\s*(?:#.*|;.*)?$|from [\w.]+ import "
    r"|@\w|(?:async )?def \w+\s*\(|class \w+\s*[:(]"
    r"|[A-Za-z_]\w*(?:\s*:\s*[\w.\[\], ]+)?\s*=(?!=)"
)
_CLOSING = re.compile(r"[)\]}]")
_RESULT = re.compile(r"\b(?:return|yield|raise)\b")
_INDENT = "    "
_LINES = 200  # as many are tried to be left out at the end


@dataclass(frozen=True)
class Block:
    """A fenced block: its language in lower case ("" for none) and its lines."""

    language: str
    code: str

    @property
    def is_python(self) -> bool:
        """Whether it says that it is python."""
        return self.language in _PYTHON


def complete(answer: str, prompt: str, name: str) -> str:
    """Return a program that defines the function: the prompt, completed or replaced by what the answer states.

    Args:
        answer: of a model.
        prompt: imports, helpers and the head of the function.
        name: of the function.
    """
    text = final_text(answer.replace("\r\n", "\n").replace("\r", "\n")).replace("\u00a0", " ")
    blocks, prose = split_blocks(text)
    whole = _defining(blocks, prose, name)
    if whole is not None:
        head = re.search(rf"^(?:async\s+)?def\s+{re.escape(name)}\b", prompt, re.MULTILINE)
        return f"{prompt[: head.start()] if head else prompt}{whole}\n"
    for chosen in (
        *(block.code for block in reversed(blocks) if block.is_python),
        *(block.code for block in reversed(blocks) if not block.language),
        _body(prose, prompt),
    ):
        if chosen.strip():
            return _continued(prompt, chosen)
    return f"{prompt}{prose}\n"


def split_blocks(text: str) -> tuple[list[Block], str]:
    """Return the fenced blocks of a text and what stands outside of them; a fence that is not closed ends with it."""
    blocks, outside, inside = [], [], []
    fence = indent = language = ""
    for line in text.split("\n"):
        if fence:
            stripped = line.strip(" \t>" if ">" in indent else None)
            closes = stripped.startswith(fence) and not stripped.strip(fence[0])
            cut = fence[0] == "`" and not closes and stripped.endswith(fence)
            if not closes:
                inside.append(_undone(line.rstrip()[: -len(fence)] if cut else line, indent))
            if closes or cut:
                blocks.append(Block(language, "\n".join(inside)))
                fence, inside = "", []
            continue
        opening = _OPENING.match(line)
        if opening is None or (opening["fence"][0] == "~" and opening["before"].strip(" \t>")):
            outside.append(line)
            continue
        fence, before = opening["fence"], opening["before"]
        indent = before if not before.strip(" \t>") else ""
        said = _LANGUAGE.match(opening["info"])
        language = said[1].lower() if said else ""
        outside.append("" if indent else before)
    if fence:
        blocks.append(Block(language, "\n".join(inside)))
    return blocks, "\n".join(outside)


def _undone(line: str, indent: str) -> str:
    """Return a line without as much of the fence's indentation as it has."""
    width = 0
    while width < len(indent) and width < len(line) and line[width] in " \t>":
        width += 1
    return line[width:]


def _defining(blocks: list[Block], prose: str, name: str) -> str | None:
    """Return the code that defines the function, as far as one can tell whole; None if none does."""
    stated = [textwrap.dedent(block.code) for block in blocks if block.is_python or not block.language]
    defining = [code for code in stated if _defines(code, name)]
    foreign = [textwrap.dedent(block.code) for block in blocks if block.language and not block.is_python]
    written = _statements(prose, name)
    whole = [
        *(code for code in foreign if _defines(code, name) and _parses(code)),
        *([written] if written else []),
        *(code for code in defining if _parses(code)),
    ]
    return whole[-1] if whole else defining[-1] if defining else None


def _defines(code: str, name: str) -> bool:
    return (
        re.search(rf"^(?:(?:async\s+)?def\s+{re.escape(name)}\b|{re.escape(name)}\s*=(?!=))", code, re.M) is not None
    )


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _statements(prose: str, name: str) -> str | None:
    """Return the statements of a text at its margin, if they define the function."""
    inline = re.compile(rf"^(?!\s*(?:#|async\s)).*?[^\s@\w][ \t]+(?=def\s+{re.escape(name)}\s*\()", re.MULTILINE)
    text = textwrap.dedent(inline.sub("", prose))
    parts = [part for part in map(_whole, _pieces(text)) if part]
    code = "\n".join(parts)
    return code if _defines(code, name) else None


def _pieces(text: str) -> Iterator[list[str]]:
    """Yield the statements at the margin with the lines that belong to them."""
    piece: list[str] = []
    for line in text.split("\n"):
        at_margin = bool(line) and not line[0].isspace()
        if not at_margin or (piece and (_CLOSING.match(line) or piece[-1].startswith("@"))):
            if piece:
                piece.append(line)
            continue
        if piece:
            yield piece
        piece = [line] if _STATEMENT.match(line) else []
    if piece:
        yield piece


def _whole(piece: list[str]) -> str:
    """Return the statement without indented prose after it; "" if it is none."""
    for end in range(len(piece), max(0, len(piece) - _LINES), -1):
        code = "\n".join(piece[:end])
        if _parses(code):
            return code
    return ""


def _body(prose: str, prompt: str) -> str:
    """Return the lines of a text that are the function's body: those at its start, else the first indented ones."""
    lines = prose.strip("\n").split("\n")
    if not lines[0][:1].isspace():
        for end in range(len(lines), max(0, len(lines) - _LINES), -1):
            body = "\n".join(lines[:end])
            if _RESULT.search(body) and any(_parses(f"{prompt}{form}\n") for form in _forms(body)[:2]):
                return body
    first = next((place for place, line in enumerate(lines) if line.strip() and line[0].isspace()), None)
    if first is None:
        return prose
    margin = (place for place, line in enumerate(lines) if place > first and line and not line[0].isspace())
    end = next(margin, len(lines))
    rest = [part for part in map(_whole, _pieces("\n".join(lines[end:]))) if part]
    return "\n".join((*lines[first:end], *rest))


def _continued(prompt: str, code: str) -> str:
    """Return the prompt with a body, indented as it has to be."""
    forms = _forms(code)
    return prompt + next((form for form in forms if _parses(f"{prompt}{form}\n")), forms[0]) + "\n"


def _forms(code: str) -> list[str]:
    """Return ways to indent a body: as it is, all of it, or only its first line, from which blanks were cut off."""
    code = code.strip("\n").rstrip()
    first, _, rest = code.partition("\n")
    forms = [textwrap.indent(textwrap.dedent(code), _INDENT), f"{_INDENT}{first.strip()}\n{rest}"]
    return [code, *forms] if code[:1].isspace() else [*forms, code]
