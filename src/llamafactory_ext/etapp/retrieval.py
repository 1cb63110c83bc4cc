"""Which tools fit a description: by words, or by the sentence embeddings of a local model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .bm25 import Bm25, words_of
from .calls import ToolSpec
from .registry import SPECS

PER_QUERY = 3
Search = Callable[[Sequence[str]], list[str]]
"""From descriptions to the names of tools, best first, each once."""


def described(spec: ToolSpec) -> str:
    """Return the text by which a tool is found."""
    return f"{spec.domain.replace('_', ' ')} {spec.name.replace('_', ' ')}: {spec.about}"


def by_words(specs: Mapping[str, ToolSpec] = SPECS) -> Search:
    """Return a search by BM25; it finds the same in every process, and nothing for words that no tool has."""
    names = list(specs)
    index = Bm25([words_of(described(spec)) for spec in specs.values()])

    def search(queries: Sequence[str]) -> list[str]:
        found = [names[place] for query in queries for place in index.best(words_of(query), PER_QUERY, held=True)]
        return list(dict.fromkeys(found))

    return search


BY_WORDS = by_words()


def by_embeddings(
    embed: Callable[[Sequence[str]], Mapping[str, Sequence[float]]], specs: Mapping[str, ToolSpec] = SPECS
) -> Search:
    """Return a search by the cosine of embeddings.

    Args:
        embed: gives embeddings of length 1, by text; see `metrics.benchmarks.api_bank.search.Embedder`.
        specs: the tools.
    """
    texts = {name: described(spec) for name, spec in specs.items()}
    known = embed(list(texts.values()))

    def search(queries: Sequence[str]) -> list[str]:
        asked = embed(list(queries))
        found: list[str] = []
        for query in queries:
            scores = {
                name: sum(a * b for a, b in zip(asked[query], known[text], strict=True))
                for name, text in texts.items()
            }
            found += sorted(scores, key=lambda name: (-scores[name], name))[:PER_QUERY]
        return list(dict.fromkeys(found))

    return search
