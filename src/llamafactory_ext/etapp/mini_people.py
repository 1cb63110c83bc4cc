"""The four people of the mini world: what each likes, and the texts in which a model reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Person:
    """One user.

    Attributes:
        key: names the user's cases.
        name: in full.
        age: in years.
        job: in a word or two.
        city: where the home is.
        slots: what the checks look for, by names with dots.
    """

    key: str
    name: str
    age: int
    job: str
    city: str
    slots: Mapping[str, Any]


def _person(key: str, name: str, age: int, job: str, city: str, values: tuple[Any, ...]) -> Person:
    return Person(key, name, age, job, city, dict(zip(_NAMES, values, strict=True)))


_NAMES = (
    "light.color",
    "light.brightness",
    "home.comfort",
    "home.eco",
    "bath.temperature",
    "bath.level",
    "kettle.temperature",
    "music.genre",
    "music.low",
    "music.high",
    "calendar.kept",
    "calendar.reminder",
    "partner.name",
    "partner.address",
    "food.diet",
    "food.budget",
    "alarm.lead",
    "travel.lodging",
    "travel.budget",
    "mail.priority",
    "news.categories",
    "workout.injury",
    "workout.avoid",
)

PEOPLE = (
    _person(
        *("mara_lindqvist", "Mara Lindqvist", 34, "harbour pilot", "Portmere"),
        (
            *("yellow", 1, 20, 15, 38, 60, 80, "jazz", 10, 20, "therapy", 15),
            *("Edda Roth", "edda.roth@portmail.org", "vegan", 20, 45, "Private room", 70),
            *(["Ilse Brandt", "Harbour Board"], ["science", "world"], "knee", "running"),
        ),
    ),
    _person(
        *("tobias_okonkwo", "Tobias Okonkwo", 41, "carpenter", "Alderby"),
        (
            *("white", 2, 21, 16, 40, 70, 85, "folk", 25, 35, "family", 30),
            *("Nora Achebe", "nora.achebe@alderby.net", "gluten-free", 24, 60, "Entire home", 120),
            *(["Timber Guild", "Ada Okonkwo"], ["sport", "business"], "shoulder", "swimming"),
        ),
    ),
    _person(
        *("yuki_fontaine", "Yuki Fontaine", 28, "sound engineer", "Quillhaven"),
        (
            *("white-yellow", 3, 22, 17, 36, 50, 90, "electronic", 60, 70, "training", 45),
            *("Leo Marchetti", "leo.m@quillpost.com", "keto", 28, 75, "Hotel room", 160),
            *(["Studio Nine", "Rafael Stone"], ["technology", "entertainment"], "wrist", "push-ups"),
        ),
    ),
    _person(
        *("priya_castellanos", "Priya Castellanos", 52, "botanist", "Brackenford"),
        (
            *("yellow", 2, 23, 18, 41, 80, 70, "classical", 40, 50, "study", 60),
            *("Samuel Grove", "sam.grove@fernmail.org", "vegetarian", 32, 90, "Shared room", 40),
            *(["Herbarium Office", "Lena Castellanos"], ["health", "hot"], "back", "rowing"),
        ),
    ),
)
CITIES = ("Portmere", "Alderby", "Quillhaven", "Brackenford", "Sundale", "Tarnwick")
KINDS = {
    "therapy": "Therapy session",
    "family": "Family call",
    "training": "Training at the gym",
    "study": "Study group",
}
EXERCISES = ("running", "swimming", "push-ups", "rowing")
GENRES = ("jazz", "folk", "electronic", "classical")
DIETS = ("vegan", "gluten-free", "keto", "vegetarian")
LODGINGS = ("Private room", "Entire home", "Hotel room", "Shared room")


def profile(person: Person) -> dict[str, Any]:
    """Return what a model is told of who the user is."""
    return {
        "name": person.name,
        "age": person.age,
        "occupation": person.job,
        "city": person.city,
        "health": f"has a weak {person.slots['workout.injury']} and should do no {person.slots['workout.avoid']}",
    }


def preferences(person: Person) -> dict[str, Any]:
    """Return the user's preferences by domain, as a model reads them."""
    slots = person.slots
    return {
        "calendar": {
            "never moved": KINDS[slots["calendar.kept"]],
            "reminders of private events": f"{slots['calendar.reminder']} minutes before",
            "alarm": f"{slots['alarm.lead']} minutes before the first event of the day",
        },
        "email": {
            "partner": {"name": slots["partner.name"], "address": slots["partner.address"]},
            "senders that matter": slots["mail.priority"],
        },
        "health": {"exercise": f"no {slots['workout.avoid']}, because of the {slots['workout.injury']}"},
        "music": {"genre": slots["music.genre"], "volume": f"{slots['music.low']} to {slots['music.high']}"},
        "navigation": {
            "lodging": f"{slots['travel.lodging']}, up to {slots['travel.budget']} a night",
        },
        "shopping": {"diet": slots["food.diet"], "food for two days": f"up to {slots['food.budget']} in all"},
        "smart_home_devices": {
            "light in the evening": f"{slots['light.color']}, brightness {slots['light.brightness']} of 3",
            "climate": f"{slots['home.comfort']} °C at home, {slots['home.eco']} °C while away",
            "bath": f"{slots['bath.temperature']} °C, filled to {slots['bath.level']} %",
            "tea": f"water of {slots['kettle.temperature']} °C",
        },
        "web_browsing": {"news": slots["news.categories"]},
    }
