"""ROUGE-L as the package `rouge` 1.0.1 computes it, which API-Bank's figures rest on.

Sentences end at full stops; the longest common subsequences of each reference sentence with every sentence of the
hypothesis are united, as sets of words; lengths count unique words too. `rouge_score` gives other figures.
"""

from __future__ import annotations

from collections.abc import Sequence

_EPSILON = 1e-8
# The package walks back through the table by recursion and stops at about this many steps.
MAX_STEPS = 990


class TooLongError(ValueError):
    """A pair on which the package ends in a RecursionError."""


def rouge_l(hypothesis: str, reference: str, limited: bool = False) -> float:
    """Return the F measure.

    Args:
        hypothesis: what the model wrote.
        reference: the published text.
        limited: whether to stop where the package does.

    Raises:
        ValueError: a text without any sentence (empty, or full stops only), as in the package.
        TooLongError: with `limited`, a pair too long for the package.
    """
    said, wanted = _sentences(hypothesis), _sentences(reference)
    if not said or not wanted:
        raise ValueError("a text without words")
    union: set[str] = set()
    for sentence in wanted:
        for other in said:
            union |= _common(sentence, other, limited)
    n, m = len({word for words in said for word in words}), len({word for words in wanted for word in words})
    precision, recall = len(union) / n, len(union) / m
    return 2.0 * precision * recall / (precision + recall + _EPSILON)


def _sentences(text: str) -> list[list[str]]:
    """Return words of each sentence; a blank sentence counts as one empty word, as in the package."""
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _common(x: Sequence[str], y: Sequence[str], limited: bool) -> set[str]:
    """Return the words of one longest common subsequence, found from the end; on ties it moves in `y` first."""
    rows = [[0] * (len(y) + 1)]
    for word in x:
        above, row = rows[-1], [0]
        for j, other in enumerate(y):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        rows.append(row)
    i, j, steps, words = len(x), len(y), 0, set()
    while i and j:
        steps += 1
        if limited and steps > MAX_STEPS:
            raise TooLongError
        if x[i - 1] == y[j - 1]:
            words.add(x[i - 1])
            i, j = i - 1, j - 1
        elif rows[i - 1][j] > rows[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words
