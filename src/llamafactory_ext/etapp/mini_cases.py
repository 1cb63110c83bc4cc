"""The cases of the mini world: twelve instructions for each of its four people, with a gold trajectory for each.

A value `{"slot": NAME}` stands for what this user likes; so gold of one user is wrong for every other.
"""

from __future__ import annotations

from typing import Any

from . import mini_first, mini_second
from .mini_people import EXERCISES, KINDS, LODGINGS, PEOPLE, Person
from .mini_world import SECOND, headline, lodging_name, meals, senders, songs

INSTRUCTIONS = (*mini_first.INSTRUCTIONS, *mini_second.INSTRUCTIONS)


def slots_of(person: Person) -> dict[str, Any]:
    """Return the user's slots with those that follow from them and the world."""
    given = dict(person.slots)
    kept = 2 + list(KINDS).index(given["calendar.kept"])
    free = [number for number in (2, 3, 4, 5) if number != kept]
    fine = [exercise for exercise in EXERCISES if exercise != given["workout.avoid"]]
    reminder, lead = given["calendar.reminder"], given["alarm.lead"]
    fits = lodging_name(given["travel.lodging"], dear=False)
    lodgings = [lodging_name(kind, dear) for kind in LODGINGS for dear in (False, True)]
    first, second = given["mail.priority"]
    return given | {
        "music.titles": list(songs(given["music.genre"])),
        "events.free": free,
        **{f"events.free.{place}": number for place, number in enumerate(free, start=1)},
        "dinner.reminder": f"{SECOND} {19 - (reminder + 59) // 60:02d}:{-reminder % 60:02d}:00",
        "food.products": [row["asin"] for row in meals(given["food.diet"])],
        "alarm.time": f"{SECOND} {9 - (lead + 59) // 60:02d}:{-lead % 60:02d}:00",
        "travel.fits": fits,
        "travel.others": [name for name in lodgings if name != fits],
        "mail.first": first,
        "mail.second": second,
        "mail.others": [name for name in senders() if name not in (first, second)] + ["Prize Office"],
        **{f"workout.fine.{place}": exercise for place, exercise in enumerate(fine, start=1)},
        "news.first": headline(given["news.categories"][0]),
        "news.second": headline(given["news.categories"][1]),
    }


def cases() -> list[dict[str, Any]]:
    """Return all cases, user by user."""
    return [
        {
            "id": f"{person.key}:{number:02d}",
            "user": person.key,
            "now": one.now,
            "place": one.place,
            "query": one.query,
            "given": list(one.given),
            "personal": list(one.personal),
            "proactive": list(one.proactive),
            "checks": one.checks,
            "follow_ups": list(one.follow_ups),
        }
        for person in PEOPLE
        for number, one in enumerate(INSTRUCTIONS)
    ]


def gold() -> dict[str, Any]:
    """Return the gold trajectory of each case: one call a turn, then the answer."""
    found = {}
    for person in PEOPLE:
        for number, one in enumerate(INSTRUCTIONS):
            calls, answer = one.gold(slots_of(person))
            made = [{"name": name, "arguments": arguments} for name, arguments in calls]
            found[f"{person.key}:{number:02d}"] = {"calls": made, "answer": answer}
    return found
