"""Shorten knowledge to a share of its words, deterministically and nested (in place of LLMLingua-2, arXiv:2403.12968).

SKIntern shortens with LLMLingua-2, whose outputs are not published. This compressor is ours: words are ranked once per
text, and a share keeps the first of the ranking, so that a smaller share keeps part of what a larger one keeps.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from ..errors import OptionError

VERSION: Final = 1  # part of the hash of built data: a change of the ranking makes other data

_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # scripts without blanks: a character is a unit
_WORD: Final = rf"[^\W{_CJK}]+(?:['’.,\-][^\W{_CJK}]+)*"
_NUMBER: Final = r"^[ \t]*(?:\d{1,3}[.)]|[-*•])(?=[ \t]|$)"
_NUMBERING: Final = re.compile(_NUMBER, re.MULTILINE)
_UNIT: Final = re.compile(rf"{_NUMBER}|{_WORD}|[{_CJK}]|[^\w\s]", re.MULTILINE)
_CODE: Final = re.compile(r"`[^`\n]+`")
_LINE: Final = re.compile(r"[^\n]+")
_LINE_END: Final = re.compile(r"\n")
_QUOTES: Final = frozenset("`\"'“”‘’")  # they say nothing without what they enclose
_BONUS: Final = 1.0  # of digits and quoted code, which cannot be guessed from the words around them


@dataclass(frozen=True)
class Ranked:
    """A text, the spans of its units in order, and their indices by rank, the first to keep in front."""

    text: str
    spans: tuple[tuple[int, int], ...]
    order: tuple[int, ...]

    def kept(self, share: float) -> list[int]:
        """Return the indices of the units that a share keeps, in the order of the text: ceil(S n) of n."""
        return sorted(self.order[: math.ceil(check_share(share) * len(self.order) - 1e-9)])

    def shortened(self, share: float) -> str:
        """Return the text at a share: the text itself at 1, nothing at 0.

        Units that stood side by side keep what stood between them. Others are joined by a blank, or by a line's end
        where one was left out between them.
        """
        return self.text if check_share(share) == 1 else self.of(self.kept(share))

    def of(self, kept: Sequence[int]) -> str:
        """Return the text of these units, by their indices in order."""
        if not kept:
            return ""
        parts = [self.text[slice(*self.spans[kept[0]])]]
        for last, index in pairwise(kept):
            between = self.text[self.spans[last][1] : self.spans[index][0]]
            parts.append(between if index == last + 1 else "\n" if "\n" in between else " ")
            parts.append(self.text[slice(*self.spans[index])])
        return "".join(parts)


def check_share(share: float) -> float:
    """Return the share.

    Raises:
        OptionError: it is no number of 0 to 1.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise OptionError(f"a share of {share!r} cannot be kept; give a number from 0 (nothing) to 1 (all).")
    return float(share)


def words_of(text: str) -> list[str]:
    """Return the units of a text in lower case."""
    return [unit.lower() for unit in _UNIT.findall(text)]


def spans_of(text: str) -> list[tuple[int, int]]:
    """Return where the units of a text stand."""
    return [match.span() for match in _UNIT.finditer(text)]


def ranked(text: str, spans: Sequence[tuple[int, int]], scores: Sequence[float]) -> Ranked:
    """Return units ranked by their scores, of equal ones the earlier first.

    A number or dash that begins a line comes right after the best unit of its line, so that it never stands alone
    unless its line has nothing else.
    """
    spans = list(spans)
    order = sorted(range(len(spans)), key=scores.__getitem__, reverse=True)  # equal ones stay in their order
    leads = [bisect_left(spans, match.span()) for match in _NUMBERING.finditer(text)]
    if leads:
        order = _with_numbering(text, spans, order, leads)
        for lead in leads:
            start, end = spans[lead]
            spans[lead] = (end - len(text[start:end].lstrip()), end)
    return Ranked(text, tuple(spans), tuple(order))


@dataclass(frozen=True)
class Extractive:
    """Rank words by how rare they are in a corpus; digits and quoted code count more.

    Attributes:
        idf: ln((1 + N) / (1 + n)) + 1 of each word that n of the N texts hold.
        unseen: of a word that none of them holds.
    """

    idf: Mapping[str, float]
    unseen: float
    _scores: dict[str, float] = field(default_factory=dict, compare=False, repr=False)  # of units as they are written

    @classmethod
    def over(cls, corpus: Iterable[str]) -> Extractive:
        """Count the words of a corpus: the knowledge of all training records."""
        holding: Counter[str] = Counter()
        total = 0
        for text in corpus:
            holding.update(set(words_of(text)))
            total += 1
        idf = {word: math.log((1 + total) / (1 + count)) + 1 for word, count in holding.items()}
        return cls(idf, math.log(1 + total) + 1)

    def rank(self, text: str) -> Ranked:
        """Return the units of a text ranked: rarest first, of equal ones the earlier first."""
        spans, known = spans_of(text), self._scores
        scores = [known[unit] if unit in known else self.score(unit) for unit in _UNIT.findall(text)]
        for code in _CODE.finditer(text):
            first, last = bisect_left(spans, (code.start() + 1,)), bisect_left(spans, (code.end() - 1,))
            scores[first:last] = [score + _BONUS for score in scores[first:last]]
        return ranked(text, spans, scores)

    def score(self, unit: str) -> float:
        """Return what a unit counts, as it is written and outside of quoted code."""
        score = self._scores.get(unit)
        if score is None:
            score = self.idf.get(unit.lower(), self.unseen) + (_BONUS if any(map(str.isdigit, unit)) else 0.0)
            score = self._scores[unit] = 0.0 if unit in _QUOTES else score
        return score


def compress(text: str, share: float, corpus: Iterable[str] | None = None) -> str:
    """Return a text at a share of its words: byte for byte the text at 1, "" at 0, nested between.

    Args:
        text: of any length and language.
        share: of the words and punctuation marks that stay, rounded up.
        corpus: texts in which words are counted; without it the lines of the text itself.

    Raises:
        OptionError: a share outside of 0 to 1.
    """
    check_share(share)
    return Extractive.over(_LINE.findall(text) if corpus is None else corpus).rank(text).shortened(share)


def _with_numbering(text: str, spans: list[tuple[int, int]], order: list[int], leads: list[int]) -> list[int]:
    """Put each line's numbering right behind the best unit of its line; of lines without one, at the end."""
    ends = [match.start() for match in _LINE_END.finditer(text)]
    line_of = [bisect_left(ends, end) for _, end in spans]
    waiting = {line_of[lead]: lead for lead in leads}
    numbering = set(leads)
    ranked = []
    for index in order:
        if index not in numbering:
            ranked.append(index)
            if (lead := waiting.pop(line_of[index], None)) is not None:
                ranked.append(lead)
    return ranked + sorted(waiting.values())
