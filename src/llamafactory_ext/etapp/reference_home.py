"""The published tools of home, town, shop and web as they behave, faults included; see `reference_tools.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .bm25 import Bm25
from .calls import DATE
from .reference_tools import Instances, Now, Tool, guarded, time_of
from .world import ROOMS, Row

_FLAGS = ("True", "False")


def _play_music(own: Instances, now: Now, music_name: Any, volume_level: Any) -> Any:
    pattern = guarded(own, music_name.lower())
    found = [song for song in own.world.shared.songs if pattern.search(song["title"]) is not None]
    if not found:
        return {"status": "failure", "message": f"Error: Music track '{music_name}' not found in the database."}
    best = max(found, key=lambda song: song["annotation_count"])
    return {"status": "success", "message": f"Playing: {best['title']} at a volume level: {volume_level}"}


def _get_music_list_in_favorites(own: Instances, now: Now) -> Any:
    return list(own.world.favourites)  # B18: no status


def _of_city(rows: Sequence[Row], column: str, city: Any) -> Any:
    return {"status": "success", "data": [row for row in rows if row[column] == city]}  # B19: by the exact name


def _find_accommodations(own: Instances, now: Now, city: Any) -> Any:
    return _of_city(own.world.shared.lodgings, "city", city)


def _find_attractions(own: Instances, now: Now, city: Any) -> Any:
    return _of_city(own.world.shared.attractions, "City", city)


def _find_restaurants(own: Instances, now: Now, city: Any) -> Any:
    return _of_city(own.world.shared.restaurants, "City", city)


def _find_flight(own: Instances, now: Now, origin_city: Any, destination_city: Any, departure_date: Any) -> Any:
    wanted = {"OriginCityName": origin_city, "DestCityName": destination_city, "FlightDate": departure_date}
    rows = [row for row in own.world.shared.flights if all(row[name] == value for name, value in wanted.items())]
    return {"status": "success", "data": rows}


def _add_product_to_cart(own: Instances, now: Now, product_id: Any, product_name: Any, quantity: Any) -> Any:
    return {"status": "success", "message": f"{quantity} of {product_id} added to cart."}


PRODUCT = (
    *("asin", "product_title", "product_price", "product_original_price", "currency", "product_star_rating"),
    *("product_num_ratings", "product_url", "sales_volume", "delivery", "has_variations"),
)


def _search_products_in_shopping_manager(own: Instances, now: Now, query: Any) -> Any:
    products = own.world.shared.products
    if own.product_index is None:
        own.product_index = Bm25([product["product_title"].split() for product in products])
    index = own.product_index
    several = isinstance(query, list)
    found = [
        {name: products[place].get(name) for name in PRODUCT}
        for one in (query if several else [query])
        for place in index.best(one.split(), 3 if several else 10)
    ]
    return {"status": "success" if found else f"No products found for '{query}'", "products": found}


def _view_cart_in_shopping_manager(own: Instances, now: Now) -> Any:
    return list(own.world.cart)


def _set_temperature_and_humidity_in_home(
    own: Instances, now: Now, temperature: Any = None, humidity: Any = None
) -> Any:
    if temperature is not None and humidity is None:
        return {"status": "success", "message": f"Current temperature set to {temperature}°C."}
    # B10: humidity alone, or nothing, still speaks of both.
    told = f"Current temperature set to {temperature}°C and current humidity set to {humidity}%."
    return {"status": "success", "message": told}


def _get_home_temperature_and_humidity(own: Instances, now: Now, at_time: Any) -> Any:
    temperature, humidity = (_reading(own, at_time, name, more) for name, more in (("temp_c", 2), ("humidity", 3)))
    told = f"Current Temperature: {temperature}°C, Current Humidity: {humidity}%."
    return {"status": "success", "message": told}


def _reading(own: Instances, at_time: Any, name: str, more: int) -> Any:
    try:
        moment = time_of(at_time)
    except Exception as error:
        return {"status": "error", "message": f"the at_time format not right: {error!s}"}
    hours = own.world.shared.weather["New York"][at_time.split(" ")[0]]["hour"]  # B8: New York's for everybody
    last: Any = None
    for hour in hours:
        if not time_of(hour["time"], "%Y-%m-%d %H:%M") < moment:
            break
        last = hour
    return last[name] + more


def _control_light_in_home(
    own: Instances, now: Now, action: Any, location: Any, brightness: Any = 1, color: Any = "white"
) -> Any:
    if action not in ["on", "off"]:
        raise ValueError("The action must be 'on' or 'off'.")
    if not location:
        raise ValueError("Location must be specified.")
    location = location.lower()
    if location not in ROOMS:
        raise ValueError(f"Invalid location. Supported locations are: {', '.join(ROOMS)}.")
    if action == "off":
        return {"status": "success", "message": f"Light in {location} is now OFF."}
    if brightness is None or color is None:
        raise ValueError("Both brightness and color must be provided when turning the light on.")
    if brightness not in [1, 2, 3]:
        raise ValueError("Brightness level must be 1 (low), 2 (medium), or 3 (high).")
    if color not in ["yellow", "white", "white-yellow"]:
        raise ValueError("Color must be 'yellow', 'white' or 'white-yellow'.")
    told = f"Light in {location} is now ON with brightness {brightness} and color {color}."
    return {"status": "success", "message": told}


def _control_curtains_in_home(own: Instances, now: Now, open: Any) -> Any:  # noqa: A002 - the published name
    open.capitalize()  # B11: true and false have no such method
    if open not in _FLAGS:
        raise ValueError("The open must be 'True' or 'False'.")
    return {"status": "success", "message": f"Curtains {'opened' if open == 'True' else 'closed'}."}


def _control_bathtub_in_home(
    own: Instances,
    now: Now,
    fill: Any,
    water_level: Any = None,
    temperature: Any = None,
    keep_temperature: Any = "False",
) -> Any:
    fill = fill.capitalize()
    if fill not in _FLAGS:
        raise ValueError("The fill must be 'True' or 'False'.")
    if keep_temperature.capitalize() not in _FLAGS:
        raise ValueError("The keep_temperature must be 'True' or 'False'.")
    does_fill = fill == "True"
    operation = {
        "operation": "fill up the bathtub" if does_fill else "drain the bathtub",
        "temperature": temperature if does_fill else None,
        "water_level": water_level,
    }
    return {"status": "success", "message": operation}


def _boil_water_in_home(own: Instances, now: Now, temperature: Any, keep_temperature: Any = "False") -> Any:
    if temperature > 100:
        return {"status": "failure", "message": "Error: Temperature exceeds boiling point of water."}
    keep = keep_temperature.capitalize()
    if keep not in _FLAGS:
        raise ValueError("The keep_temperature must be 'True' or 'False'.")
    if keep == "True":
        told = f"Water is boiling at {temperature}°C, and will maintain this temperature."
        return {"status": "success", "message": told}
    return {"status": "success", "message": f"Water has boiled at {temperature}°C."}


def _get_today_weather(own: Instances, now: Now, location: Any) -> Any:
    weather = own.world.shared.weather
    if location not in weather:
        return {"status": "error", "message": "Location not found"}
    if now[:10] not in weather[location]:
        return {"status": "error", "message": "Time not found for the given location"}
    return {"status": "success", "data": _day(weather[location][now[:10]])}


def _day(day: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in day.items() if name != "hour"}


def _get_future_weather(own: Instances, now: Now, location: Any, start_time: Any, end_time: Any) -> Any:
    first = time_of(start_time, DATE)
    weather = own.world.shared.weather
    if location not in weather:
        return {"status": "error", "message": "Location not found"}
    if start_time not in weather[location]:
        return {"status": "error", "message": "start_Time not found for the given location"}
    if first > time_of(end_time, DATE):
        return None
    return {"status": "success", "data": [_day(weather[location][first.strftime(DATE)])]}  # B6: one day, always


def _search_news_by_category(own: Instances, now: Now, category: Any) -> Any:
    for row in own.world.shared.news:
        if row["category"] == category:
            return {"status": "success", "data": row}
    return {"status": "error", "message": f"The query {category} is not in defined category"}


def _search_heat_news(own: Instances, now: Now) -> Any:
    for row in own.world.shared.news:
        if row["category"] == "hot":
            return {"status": "success", "data": row["news"]}
    return None


TOOLS: Mapping[str, Tool] = {
    "play_music": _play_music,
    "get_music_list_in_favorites": _get_music_list_in_favorites,
    "find_accommodations": _find_accommodations,
    "find_attractions": _find_attractions,
    "find_restaurants": _find_restaurants,
    "find_flight": _find_flight,
    "add_product_to_cart": _add_product_to_cart,
    "search_products_in_shopping_manager": _search_products_in_shopping_manager,
    "view_cart_in_shopping_manager": _view_cart_in_shopping_manager,
    "set_temperature_and_humidity_in_home": _set_temperature_and_humidity_in_home,
    "get_home_temperature_and_humidity": _get_home_temperature_and_humidity,
    "control_light_in_home": _control_light_in_home,
    "control_curtains_in_home": _control_curtains_in_home,
    "control_bathtub_in_home": _control_bathtub_in_home,
    "boil_water_in_home": _boil_water_in_home,
    "get_today_weather": _get_today_weather,
    "get_future_weather": _get_future_weather,
    "search_news_by_category": _search_news_by_category,
    "search_heat_news": _search_heat_news,
}
