"""A small folder in the layout of ETAPP's checkout, with our own content."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

from llamafactory_ext.etapp.checkout import ATTRACTION, INSTRUCTIONS, OPTIONAL, PROFILES
from llamafactory_ext.etapp.reference_home import PRODUCT

USERS = {"Ann Gray": "Boston", "Bob O'Neil-Fox Jr": "New York"}
DAY = "2024-09-06"
INSTRUCTION = {
    "timestamp": f"{DAY} 07:00:00",
    "query": "q",
    "keypoint for personal": ["p"],
    "keypoint for proactive": ["q"],
    "available_tools_name": ["add_alarm"],
    "location": "Home",
}


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def make(folder: Path) -> Path:
    given = [["view_today_events_in_calendar", "add_event_in_calendar"], ["play_music"], ["search_from_wikipedia"]]
    put(
        folder / INSTRUCTIONS,
        [
            INSTRUCTION
            | {
                "timestamp": f"{DAY} {7 + place}:45:00",
                "query": f"request {place}",
                "available_tools_name": tools,
            }
            for place, tools in enumerate(given)
        ],
    )
    basics = {name: {"DemographicData": {"BasicInformation": {"Location": city}}} for name, city in USERS.items()}
    put(folder / PROFILES, basics)
    for name in USERS:
        _user(folder, name.replace(" ", "_"))
    hours = [{"time": f"{DAY} {hour:02d}:00", "temp_c": 20.5, "humidity": 40} for hour in range(24)]
    day = {"forecast": {"forecastday": [{"date": DAY, "day": {"text": "dry"}, "hour": hours}]}}
    for name, value in (
        ("Weather/weather_new.pkl", {city: {DAY: day} for city in ("Boston", "New York")}),
        ("Web_Browsing/news_data.pkl", [{"category": "hot", "news": [{"title": "t"}]}]),
    ):
        path = folder / "database" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(value))
    lodging = {"NAME": "Inn", "price": 80.0, "room type": "Private room", "house_rules": "quiet", "minimum nights": 1}
    lodging |= {"maximum occupancy": 2, "review rate number": 4.0, "city": "Boston"}
    table(folder / str(OPTIONAL["find_accommodations"]), [lodging, {**lodging, "house_rules": ""}])
    return folder


def complete(folder: Path) -> Path:
    """Add all tables that a clone may lack: attractions, restaurants, flights, products and songs."""
    diner = {"Name": "Diner", "Average Cost": 20, "Cuisines": "soup", "Aggregate Rating": 4.1, "City": "Boston"}
    table(folder / str(OPTIONAL["find_restaurants"]), [diner, {**diner, "Name": "Far", "City": "New York"}])
    flight = {"Flight Number": "F1", "Price": 90, "DepTime": "07:00", "ArrTime": "09:00", "ActualElapsedTime": "2 h"}
    flight |= {"FlightDate": DAY, "OriginCityName": "Boston", "DestCityName": "New York", "Distance": 190}
    table(folder / str(OPTIONAL["find_flight"]), [flight, {**flight, "FlightDate": "2024-09-07"}])
    titles = ("Green tea", "Black tea", "Soup")
    products = [{**dict.fromkeys(PRODUCT, 1), "asin": f"A{n}", "product_title": t} for n, t in enumerate(titles)]
    table(folder / str(OPTIONAL["search_products_in_shopping_manager"]), products)
    songs = [
        {"title": t, "annotation_count": n, "artist_names": "x"} for n, t in enumerate(("So What", "So Far", "No"))
    ]
    table(folder / str(OPTIONAL["play_music"]), songs)
    table(folder / str(OPTIONAL["find_attractions"]), [{**dict.fromkeys(ATTRACTION, 1), "City": "Boston"}])
    return folder


def _user(folder: Path, user: str) -> None:
    data = folder / "database"
    put(folder / f"profile/concrete_profile/profile_{user}.json", {"calendar": {"likes": "mornings"}, "music": {}})
    event = {"id": 1, "title": "Walk", "description": "d", "start_time": f"{DAY} 10:00:00"}
    table(
        data / f"Calendar/events/events_{user}.csv",
        [event | {"end_time": f"{DAY} 11:00:00", "reminder": ""}],
    )
    table(data / f"Calendar/alarms/alarms_{user}.csv", [{"id": 1, "alarm_time": f"{DAY} 07:00:00", "message": "m"}])
    mail = {"id": 1, "sender": "a@b.co", "receiver": "c@d.co", "subject": "s", "content": "some words"}
    mail |= {"timestamp": f"{DAY} 06:00:00", "status": "Received", "read_status": "Read", "attachments": ""}
    table(data / f"Email/emails_{user}.csv", [mail])
    table(data / f"Health/Health_records_{user}.csv", [{"timestamp": f"{DAY} 06:00:00", "steps": 3}])
    table(data / f"Health/Health_summary_records_{user}.csv", [{"date": f"{DAY} 00:00:00", "activity": "a"}])
    table(data / f"Health/Workout_records_{user}.csv", [{"Activity Type": "Run", "Start Time": f"{DAY} 06:00:00"}])
    table(data / f"Music/favorites_{user}.csv", [{"id": 1, "music_type": "jazz", "title": "So", "artist": "x"}])
    table(data / f"Shopping/carts_{user}.csv", [{"id": 1, "asin": "B", "product_title": "t", "quantity": 1}])
