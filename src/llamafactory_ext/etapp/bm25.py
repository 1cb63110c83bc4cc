"""BM25 as the package rank_bm25 has it (BM25Okapi): k1 = 1.5, b = 0.75.

A negative weight of a word becomes a quarter of the mean weight.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


class Bm25:
    """Scores of documents.

    Args:
        corpus: the words of each document.
    """

    def __init__(self, corpus: Sequence[Sequence[str]]) -> None:
        self._counts = [Counter(words) for words in corpus]
        self._lengths = [len(words) for words in corpus]
        self._mean = sum(self._lengths) / len(corpus) if corpus else 0.0
        held: Counter[str] = Counter()
        for counts in self._counts:
            held.update(counts.keys())
        weights = {word: math.log(len(corpus) - n + 0.5) - math.log(n + 0.5) for word, n in held.items()}
        least = 0.25 * sum(weights.values()) / len(weights) if weights else 0.0
        self._weights = {word: least if weight < 0 else weight for word, weight in weights.items()}

    def scores(self, query: Sequence[str]) -> list[float]:
        """Return the score of each document."""
        found = [0.0] * len(self._counts)
        for word in query:
            weight = self._weights.get(word)
            if weight is None:
                continue
            for place, counts in enumerate(self._counts):
                if n := counts[word]:
                    length = 1.5 * (1 - 0.75 + 0.75 * self._lengths[place] / self._mean)
                    found[place] += weight * (n * 2.5 / (n + length))
        return found

    def best(self, query: Sequence[str], most: int, *, held: bool = False) -> list[int]:
        """Return the places of the best documents, best first; of equal ones the first.

        Args:
            query: its words.
            most: how many.
            held: only documents that hold a word of the query, whatever their scores.
        """
        scores = self.scores(query)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        if held:
            order = [place for place in order if any(word in self._counts[place] for word in query)]
        return order[:most]


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without what stands between them."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
