"""Read the answer that follows a cue: of BBH, AGIEval and ARC (arXiv:2409.13183, section 4.1).

`strict` takes what follows the last cue up to the end of its line; without a cue the reply is wrong. `lenient` takes
the last candidate of the reply then. `reference` reads as the published evaluator does, with its faults: it cuts at
the first full stop, decimals included, and finds a letter anywhere in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from ...data.public.reasoning import CUE
from ..thoughts import final_text

_CUE: Final = re.compile(r"\bthe\s+(?:final\s+)?answer\s+is\b\s*:?", re.IGNORECASE)
_LETTER: Final = re.compile(r"\(\s*([A-Z])\s*\)|(?<![\w'’])([A-Z])(?=[).:,;]|\s*$)")
_NUMBER: Final = re.compile(
    r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w%])(?!\.\d)|(?<![\w.])[-−+]?\.\d+"
)
_BRACKETS: Final = "()[]{}<>"
_NEXT: Final = re.compile(r"\n\s*Question:\s")


def read_choice(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that a text names: the one in brackets or standing alone, else the option that it quotes.

    Args:
        text: behind the cue.
        options: texts by letter, such as {"A": "Paris"}; empty where they are not known.
    """
    letters = {match[1] or match[2] for match in _LETTER.finditer(text)} & (
        options.keys() or set(map(chr, range(65, 91)))
    )
    if len(letters) == 1:
        return letters.pop()
    if letters:
        return None
    said = _bare(text)
    equal = [letter for letter, option in options.items() if _bare(option) == said and said]
    return equal[0] if len(equal) == 1 else None


def read_word(text: str, words: Sequence[str]) -> str | None:
    """Return the only one of these words that a text holds as a whole word, in any case of letters."""
    found = {word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)}
    return found.pop() if len(found) == 1 else None


def read_number(text: str) -> Decimal | None:
    """Return the last number of a text, without separators, units and currency; None if it holds none."""
    found = _NUMBER.findall(re.sub(r"(?<=\d)\s*%", " ", re.sub(r"[$€£¥]", "", text)))
    try:
        return Decimal(found[-1].replace(",", "").replace("−", "-")).normalize() if found else None
    except InvalidOperation:
        return None


def read_brackets(text: str) -> str | None:
    """Return the brackets of a text, without blanks; None if it holds none or something else beside them."""
    marks = re.sub(r"[\s`'\".]", "", text)
    return marks if marks and all(mark in _BRACKETS for mark in marks) else None


def read_list(text: str) -> str | None:
    """Return the words of a list, divided by one blank; None for an empty one."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())
    return " ".join(words) or None


def behind_cue(reply: str) -> str | None:
    """Return what follows the last cue up to the end of its line; None without a cue.

    Thoughts count for nothing, nor does a question that the model asks itself after its answer.
    """
    text = _NEXT.split(final_text(reply), maxsplit=1)[0]
    cues = list(_CUE.finditer(text))
    if not cues:
        return None
    rest = text[cues[-1].end() :].lstrip(" \t*_")
    line = (rest.lstrip("\n") if not rest.partition("\n")[0].strip() else rest).partition("\n")[0]
    return line.strip().rstrip("*_ ").removesuffix(".").strip()


def last_candidate(reply: str, read: Callable[[str], object]) -> object:
    """Return what the last line of a reply that holds an answer says; None if none does."""
    text = _NEXT.split(final_text(reply), maxsplit=1)[0]
    for line in reversed(text.splitlines()):
        if (found := read(line.strip().removesuffix("."))) is not None:
            return found
    return None


def reference_answer(reply: str) -> str:
    """Return the answer as the published evaluator cuts it out of a reply."""
    text = reply.split("Question: ", 1)[0]
    if CUE.lower() not in text.lower():
        lines = [line for line in text.strip().splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    start = text.lower().rindex(CUE.lower()) + len(CUE)
    return text[start:].split("\n\n")[0].split(".")[0].strip()


def _bare(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s.\-]", " ", text.lower()).split()).rstrip(".")
