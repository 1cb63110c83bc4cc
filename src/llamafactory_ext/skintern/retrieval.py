"""Find documents for a question by BM25, as KARD does (arXiv:2305.18395): three, of 128 words each."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ..data.entries import DataEntry
from ..data.files.reading import iter_records
from ..errors import DataError
from .apart import bag
from .compress import words_of
from .records import Record, read_skintern_records

DOCUMENTS: Final = 3
WORDS: Final = 128
_K1, _B = 1.5, 0.75
_BLOCK: Final = 256


@dataclass(frozen=True)
class Document:
    """A text that may be found.

    Attributes:
        text: its first words.
        of: the words of the question whose knowledge it is, so that its own record never finds it; () for none.
    """

    text: str
    of: tuple[str, ...] = ()


def documents_of(records: Iterable[Record]) -> list[Document]:
    """Return the knowledge of records as documents."""
    found = []
    for record in records:
        if text := "\n\n".join(record.knowledge.values()):
            found.append(Document(_first_words(text), bag(record.question)))
    return found


def find_documents(what: str, folder: Path) -> list[Document]:
    """Return the documents of a file, or the knowledge of a data set, such as the one that was trained on.

    Args:
        what: a file, or an entry of dataset_info.json.
        folder: of dataset_info.json.

    Raises:
        DataError: neither is there, or it holds none.
    """
    path = Path(what)
    if path.is_file():
        first = next(iter(iter_records(path)), ("", None))[1]
        if isinstance(first, str) or (isinstance(first, dict) and first.keys() & {"text", "title"}):
            return read_documents(path)
    entry = DataEntry.found(what, folder)
    if not (found := documents_of(read_skintern_records(entry))):
        raise DataError(
            f'{entry.path} holds no documents: neither objects with "text" nor records with knowledge; name another '
            "skintern_documents."
        )
    return found


def read_documents(path: Path) -> list[Document]:
    """Return the documents of a file: objects with "text" and, in front of it, a "title", or texts alone.

    Raises:
        DataError: the file cannot be read, or holds none.
    """
    found = []
    for place, record in iter_records(path):
        text = record.get("text") if isinstance(record, dict) else record
        title = record.get("title") if isinstance(record, dict) else None
        if not isinstance(text, str) or not isinstance(title, str | None):
            raise DataError(f'{path}, {place}: no document; write objects with "text" and, if there is one, "title".')
        if text.strip():
            found.append(Document(_first_words(f"{title}: {text}" if title else text)))
    if not found:
        raise DataError(f"{path} holds no documents; name another skintern_documents.")
    return found


def _first_words(text: str) -> str:
    words = text.split()
    return text if len(words) <= WORDS else " ".join(words[:WORDS])


def digest(documents: Sequence[Document]) -> str:
    """Return the hash of documents."""
    return hashlib.sha256(json.dumps([[one.text, one.of] for one in documents]).encode()).hexdigest()


class Retrieval:
    """An index of documents (BM25, k1 1.5, b 0.75, weights of words ln(1 + (N - n + 0.5) / (n + 0.5))).

    Args:
        documents: all of them.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        from scipy import sparse

        self.documents = documents
        counts = [Counter(words_of(one.text)) for one in documents]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        holding = Counter(word for count in counts for word in count)
        self._words = {word: column for column, word in enumerate(holding)}
        total = len(documents)
        idf = {word: math.log(1 + (total - n + 0.5) / (n + 0.5)) for word, n in holding.items()}
        rows, columns, values = [], [], []
        for row, count in enumerate(counts):
            scale = _K1 * (1 - _B + _B * lengths[row] / mean)
            for word, number in count.items():
                rows.append(row)
                columns.append(self._words[word])
                values.append(idf[word] * number * (_K1 + 1) / (number + scale))
        self._matrix = sparse.csr_matrix((values, (rows, columns)), shape=(total, max(len(self._words), 1)))

    def find(self, questions: Sequence[str], most: int = DOCUMENTS) -> list[list[str]]:
        """Return for each question the texts that fit best, the best first, ties by their order; never its own."""
        from scipy import sparse

        own: dict[tuple[str, ...], list[int]] = {}
        for place, document in enumerate(self.documents):
            if document.of:
                own.setdefault(document.of, []).append(place)
        found = []
        for start in range(0, len(questions), _BLOCK):
            block = questions[start : start + _BLOCK]
            entries = [(row, self._words[w]) for row, q in enumerate(block) for w in words_of(q) if w in self._words]
            rows, columns = zip(*entries, strict=True) if entries else ((), ())
            shape = (len(block), self._matrix.shape[1])
            asked = sparse.csr_matrix((np.ones(len(entries)), (rows, columns)), shape=shape)
            for question, scores in zip(block, (asked @ self._matrix.T).toarray().round(9), strict=True):
                scores[own.get(bag(question), [])] = -1
                ranked = np.argsort(-scores, kind="stable")[:most]
                found.append([self.documents[int(place)].text for place in ranked if scores[place] > 0])
        return found
