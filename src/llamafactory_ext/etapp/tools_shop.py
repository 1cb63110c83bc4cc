"""Shopping and music."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from .bm25 import Bm25, words_of
from .calls import Param, ToolSpec, refusal
from .world import Rows, World, next_id

Arguments = Mapping[str, Any]


@lru_cache(maxsize=8)
def _index(titles: tuple[str, ...]) -> Bm25:
    return Bm25([words_of(title) for title in titles])


def _search(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    products = world.shared.products
    index = _index(tuple(str(row["product_title"]) for row in products))
    most = 10 if len(given["query"]) == 1 else 3
    found = [place for query in given["query"] for place in index.best(words_of(query), most, held=True)]
    rows = [products[place] for place in dict.fromkeys(found)]
    return {"status": "success", "data": rows} | ({} if rows else {"note": "no product has these words"}), world


def _add(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    known = next((row for row in world.shared.products if row["asin"] == given["product_id"]), None)
    if known is None and world.shared.products:
        raise refusal(f"there is no product {given['product_id'][:40]!r}; search for products to see their ids")
    line = {
        "id": next_id(world.cart),
        "asin": given["product_id"],
        "product_title": known["product_title"] if known else given["product_name"],
        "product_price": known["product_price"] if known else None,
        "quantity": given["quantity"],
    }
    told = {"status": "success", "message": f"{given['quantity']} x {line['product_title']} in the cart."}
    return told, world.changed(cart=(*world.cart, line))


def _cart(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": list(world.cart)}, world


def _play(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    asked = given["music_name"].lower()
    songs: Rows = world.shared.songs or world.favourites
    found = [song for song in songs if asked in str(song["title"]).lower()]
    if not found:
        raise refusal(f"no song is called {given['music_name'][:60]!r}")
    best = min(found, key=lambda song: (str(song["title"]).lower() != asked, -song.get("annotation_count", 0)))
    player = {"title": best["title"], "volume": given["volume_level"]}
    told = {"status": "success", "message": f"{best['title']} plays at volume {given['volume_level']}."}
    return told, world.changed(player=player)


def _favourites(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": list(world.favourites)}, world


SPECS = (
    ToolSpec(
        "play_music",
        "music",
        "Play a song.",
        (
            Param("music_name", "text", "The song's title, without the artist."),
            Param("volume_level", "integer", "0 (silent) to 100.", low=0, high=100),
        ),
        _play,
        mutates=True,
    ),
    ToolSpec("get_music_list_in_favorites", "music", "List the user's favourite songs.", (), _favourites),
    ToolSpec(
        "add_product_to_cart",
        "shopping",
        "Put a product into the shopping cart.",
        (
            Param("product_id", "text", "The product's asin, as the search shows it."),
            Param("product_name", "text", "The product's title."),
            Param("quantity", "integer", "How many, 1 to 99.", low=1, high=99),
        ),
        _add,
        mutates=True,
    ),
    ToolSpec(
        "search_products_in_shopping_manager",
        "shopping",
        "Find products by words of their titles; of a list, three for each.",
        (Param("query", "texts", "What to look for, or a list of it."),),
        _search,
    ),
    ToolSpec("view_cart_in_shopping_manager", "shopping", "List what is in the shopping cart.", (), _cart),
)
