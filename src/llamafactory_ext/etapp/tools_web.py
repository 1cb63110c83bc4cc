"""News and an encyclopedia."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from .bm25 import Bm25, words_of
from .calls import Param, ToolSpec, refusal
from .world import World

CATEGORIES = ("entertainment", "world", "business", "sport", "health", "science", "technology", "hot")
Arguments = Mapping[str, Any]
_WORDS = 100


def _category(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": _news(world, given["category"])}, world


def _hot(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": _news(world, "hot")}, world


def _news(world: World, category: str) -> list[Any]:
    found = next((row["news"] for row in world.shared.news if row["category"] == category), None)
    if found is None:
        raise refusal(f"there is no news about {category}")
    return list(found)


@lru_cache(maxsize=8)
def _index(texts: tuple[str, ...]) -> Bm25:
    return Bm25([words_of(text) for text in texts])


def _look_up(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    entries = world.shared.encyclopedia
    index = _index(tuple(f"{entry['title']} {entry['text']}" for entry in entries))
    found = [entries[place] for place in index.best(words_of(given["query"]), given["topk"], held=True)]
    texts = [f"{entry['title']}\n{' '.join(str(entry['text']).split()[:_WORDS])}" for entry in found]
    return {"status": "success", "data": texts} | ({} if texts else {"note": "no entry has these words"}), world


SPECS = (
    ToolSpec(
        "search_news_by_category",
        "web_browsing",
        "List the news of a category.",
        (Param("category", "choice", "Which news.", choices=CATEGORIES),),
        _category,
    ),
    ToolSpec("search_heat_news", "web_browsing", "List the news that most people read at present.", (), _hot),
    ToolSpec(
        "search_from_wikipedia",
        "web_browsing",
        "Look something up in an encyclopedia.",
        (
            Param("query", "text", "What to look up."),
            Param("topk", "integer", "How many entries, 1 to 20.", needed=False, default=5, low=1, high=20),
        ),
        _look_up,
    ),
)
