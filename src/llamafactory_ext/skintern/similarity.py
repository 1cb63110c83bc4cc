"""Tf-idf vectors of texts, and the cosine between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from .compress import words_of

_BLOCK = 256  # rows of the similarity matrix that are held at a time


def most_similar(texts: Sequence[str], most: int, excluded: Mapping[int, set[int]]) -> list[list[int]]:
    """Return for each text the indices of the texts most like it, the most similar first, ties by index.

    Args:
        texts: to compare, N of them.
        most: how many to return at most.
        excluded: for a text, the indices that may not be returned; the text itself never is.

    Returns:
        N lists. Time grows with N squared; memory with 256 N.
    """
    from scipy import sparse

    rows, columns, values = [], [], []
    words: dict[str, int] = {}
    for row, vector in enumerate(vectors(texts)):
        for word, value in vector.items():
            rows.append(row)
            columns.append(words.setdefault(word, len(words)))
            values.append(value)
    shape = (len(texts), max(len(words), 1))
    matrix = sparse.csr_matrix((values, (rows, columns)), shape=shape, dtype=np.float64)
    found = []
    for start in range(0, len(texts), _BLOCK):
        block = (matrix[start : start + _BLOCK] @ matrix.T).toarray().round(9)
        for offset, cosines in enumerate(block):
            row = start + offset
            cosines[[row, *excluded.get(row, ())]] = -1
            ranked = np.argsort(-cosines, kind="stable")[:most]
            found.append([int(index) for index in ranked if cosines[index] >= 0])
    return found


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine of two vectors of length 1; 0 where one is empty."""
    return math.fsum(value * other.get(word, 0.0) for word, value in one.items())


def vectors(texts: Sequence[str]) -> list[dict[str, float]]:
    """Return the tf-idf vector of each text, of length 1; of an empty text an empty one.

    The weight of a word that stands c times in a text and in n of N texts is c (ln((1 + N) / (1 + n)) + 1).
    """
    counts = [Counter(words_of(text)) for text in texts]
    holding = Counter(word for count in counts for word in count)
    idf = {word: math.log((1 + len(texts)) / (1 + number)) + 1 for word, number in holding.items()}
    weighted = [{word: number * idf[word] for word, number in count.items()} for count in counts]
    return [{word: value / _length(vector) for word, value in vector.items()} for vector in weighted]


def _length(vector: Mapping[str, float]) -> float:
    return math.sqrt(math.fsum(value * value for value in vector.values()))
