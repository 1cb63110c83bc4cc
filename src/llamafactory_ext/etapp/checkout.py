"""A user's own checkout of ETAPP (hypasd-art/ETAPP), at any of its commits; nothing of it is imported or run.

Missing files are named, with the tools that they cost, and the cases that need these tools are marked as degraded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.own import refuse_special, sha256
from ..errors import DataError
from ..foreign import ForeignError, parsed
from .cases import Case, Source
from .clone_form import check_rows, checked_instruction, checked_news, checked_weather
from .overlay import checks_of, slots_of
from .pickles import read_plain
from .registry import SPECS
from .tables import Table, read_table, without_gaps
from .world import Row, Shared, World

MOST_BYTES = 16 << 20
LARGEST = 64 << 20  # of any file
LARGEST_ENCYCLOPEDIA = 512 << 20
LODGING = (
    *("NAME", "price", "room type", "house_rules", "minimum nights"),
    *("maximum occupancy", "review rate number", "city"),
)
ATTRACTION = ("Name", "Latitude", "Longitude", "Address", "Phone", "Website", "City")
RESTAURANT = ("Name", "Average Cost", "Cuisines", "Aggregate Rating", "City")
FLIGHT = (
    *("Flight Number", "Price", "DepTime", "ArrTime", "ActualElapsedTime", "FlightDate", "OriginCityName"),
    *("DestCityName", "Distance"),
)
# Files that a checkout may lack, by the tool that needs each; `None` is in no checkout at all.
OPTIONAL: Mapping[str, str | None] = {
    "find_accommodations": "database/Navigation/accommodations/clean_accommodations_2022_revise.csv",
    "find_attractions": "database/Navigation/attractions/attractions.csv",
    "find_restaurants": "database/Navigation/restaurants/clean_restaurant_2022_revise.csv",
    "find_flight": "database/Navigation/flights/clean_Flights_revise.csv",
    "search_products_in_shopping_manager": "database/Shopping/product.csv",
    "play_music": "database/Music/music_all.csv",
    "search_from_wikipedia": None,
}
INSTRUCTIONS, PROFILES = "data/instruction/instruction.json", "profile/profiles.json"
_NAME = re.compile(r"[\w .'-]{1,80}")
_USER_TABLES = {
    "events": "database/Calendar/events/events_{}.csv",
    "alarms": "database/Calendar/alarms/alarms_{}.csv",
    "mails": "database/Email/emails_{}.csv",
    "health": "database/Health/Health_records_{}.csv",
    "summaries": "database/Health/Health_summary_records_{}.csv",
    "workouts": "database/Health/Workout_records_{}.csv",
    "favourites": "database/Music/favorites_{}.csv",
    "cart": "database/Shopping/carts_{}.csv",
}


class Checkout:
    """The files of a checkout, each read once and hashed.

    Args:
        folder: its root.
        encyclopedia: JSON lines with "title" and "text", for the tool whose index no checkout has.

    Raises:
        DataError: no checkout there.
    """

    def __init__(self, folder: Path, encyclopedia: Path | None = None) -> None:
        self.folder, self._encyclopedia = folder, encyclopedia
        self.hashes: dict[str, str] = {}
        if not (folder / INSTRUCTIONS).is_file() or not (folder / PROFILES).is_file():
            raise DataError(
                f"{folder} is no checkout of ETAPP: {INSTRUCTIONS} or {PROFILES} is missing. Clone "
                "hypasd-art/ETAPP and name its folder as source; the mini world (--source mini) needs none."
            )

    def file(self, name: str) -> Path:
        """Return a file below the checkout.

        Raises:
            DataError: a link, a name that leads out of it, no ordinary file, or one of endless length.
        """
        path = self.folder / name
        if path.is_symlink() or not path.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{path} is a link or leads out of the checkout; it is not read.")
        refuse_special(path)
        if path.is_file() and name not in self.hashes:
            if path.stat().st_size > LARGEST:
                raise DataError(f"{path} is longer than {LARGEST:,} bytes; it is no file of the published data.")
            try:
                self.hashes[name] = sha256(path)
            except OSError as error:
                raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
        return path

    def has(self, name: str) -> bool:
        """Tell whether a file is there."""
        return (self.folder / name).is_file()

    def json(self, name: str) -> Any:
        """Return the value of a JSON file.

        Raises:
            DataError: it is missing, too long or malformed.
        """
        path = self.file(name)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise DataError(f"{path} is longer than {MOST_BYTES:,} bytes; it is no file of the published data.")
            return parsed(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); complete the checkout.") from None
        except ForeignError as error:
            raise DataError(f"{path} is no JSON that can be read: {error}. Get the file again.") from None

    def table(self, name: str) -> Table:
        """Return the rows of a CSV file."""
        return read_table(self.file(name))

    def source(self) -> Source:
        """Return all worlds and cases.

        Raises:
            DataError: files that nothing can do without are missing or malformed.
        """
        shared, users = self.shared(), self.users()
        worlds = {user: self.world(user, profile, shared) for user, profile in users.items()}
        cases = self.cases(worlds)
        slots = {user: slots_of(world.preferences) for user, world in worlds.items()}
        absent = {
            tool: f"{name} is missing" if name else "give `etapp run` --wikipedia FILE.jsonl"
            for tool, name in self.missing().items()
        }
        digest = hashlib.sha256(json.dumps(sorted(self.hashes.items())).encode()).hexdigest()
        beside = sha256(self._encyclopedia) if self._encyclopedia is not None else ""
        return Source(self.folder.name, digest, worlds, slots, cases, absent, str(self.folder), beside)

    def missing(self) -> dict[str, str | None]:
        """Return the tools without data, each with the file that it needs."""
        absent = {tool: name for tool, name in OPTIONAL.items() if name is None or not self.has(name)}
        if self._encyclopedia is not None:
            absent.pop("search_from_wikipedia")
        return absent

    def users(self) -> dict[str, Mapping[str, Any]]:
        """Return the profiles, by the users' keys.

        Raises:
            DataError: a name that could lead elsewhere, or no city.
        """
        profiles, found = self.json(PROFILES), {}
        for name, profile in profiles.items() if isinstance(profiles, dict) else ():
            key = name.replace(" ", "_")
            if not _NAME.fullmatch(name) or name.strip(". ") != name or key in found:
                raise DataError(f"{self.folder / PROFILES}: the name {name[:60]!r} is none of a user; mend the file.")
            found[key] = profile
        if not found:
            raise DataError(f"{self.folder / PROFILES} holds no users; get the file again.")
        return found

    def shared(self) -> Shared:
        """Return what all users see."""
        absent = self.missing()
        weather = self.file("database/Weather/weather_new.pkl")
        news = self.file("database/Web_Browsing/news_data.pkl")
        entries: tuple[Row, ...] = ()
        if self._encyclopedia is not None:
            entries = tuple(_entries(self._encyclopedia))
        return Shared(
            weather=checked_weather(read_plain(weather), str(weather)),
            lodgings=self._rows(absent, "find_accommodations", LODGING),
            attractions=self._rows(absent, "find_attractions", ATTRACTION),
            restaurants=self._rows(absent, "find_restaurants", RESTAURANT),
            flights=self._rows(absent, "find_flight", FLIGHT),
            songs=self._rows(absent, "play_music"),
            products=self._rows(absent, "search_products_in_shopping_manager"),
            news=checked_news(read_plain(news), str(news)),
            encyclopedia=entries,
            missing=frozenset(absent),
        )

    def _rows(self, absent: Mapping[str, Any], tool: str, columns: tuple[str, ...] = ()) -> tuple[Row, ...]:
        name = OPTIONAL[tool]
        if tool in absent or name is None:
            return ()
        rows, place = self.table(name), str(self.folder / name)
        if columns:
            return tuple(without_gaps(rows, columns, place))
        check_rows(rows, tool, place)
        return tuple(rows)

    def world(self, user: str, profile: Mapping[str, Any], shared: Shared) -> World:
        """Return the world of a user.

        Raises:
            DataError: the user's files are missing or malformed.
        """
        tables: dict[str, Any] = {}
        for part, name in _USER_TABLES.items():
            rows = self.table(name.format(user))
            check_rows(rows, part, str(self.folder / name.format(user)))
            tables[part] = tuple(rows)
        try:
            city = profile["DemographicData"]["BasicInformation"]["Location"]
        except (KeyError, TypeError):
            city = None
        if not isinstance(city, str):
            raise DataError(f"{self.folder / PROFILES}: {user} has no Location; get the file again.")
        liked = f"profile/concrete_profile/profile_{user}.json"
        preferences = self.json(liked)
        if not isinstance(preferences, dict):
            raise DataError(f"{self.folder / liked} is no object of preferences by domain; get the file again.")
        return World(user, city, profile, preferences, shared, **tables)

    def cases(self, worlds: Mapping[str, World]) -> tuple[Case, ...]:
        """Return all cases, user by user.

        Raises:
            DataError: an instruction is malformed.
        """
        path, absent, listed = self.folder / INSTRUCTIONS, self.missing(), self.json(INSTRUCTIONS)
        if not isinstance(listed, list) or not listed:
            raise DataError(f"{path} is no list of instructions; get the file again.")
        found, number = [], 0
        try:
            for world in worlds.values():
                for number, record in enumerate(listed):
                    found.append(_case(world, number, record, absent))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else f"is malformed ({error})"
            raise DataError(f"{path}, index {number}: the instruction {what}; get the file again.") from None
        return tuple(found)


def _case(world: World, number: int, record: Mapping[str, Any], absent: Mapping[str, Any]) -> Case:
    user, (now, told) = world.user, checked_instruction(record)
    given = told["available_tools_name"]
    lacking = [name for name in dict.fromkeys(given) if name in absent or name not in SPECS]
    return Case(
        f"{user}:{number:02d}",
        user,
        number,
        now,
        told["location"],
        told["query"],
        given,
        told["keypoint for personal"],
        told["keypoint for proactive"],
        checks=checks_of(number, told["query"], now, world),
        stamp=told["timestamp"],
        lacking=tuple(lacking),
    )


def _entries(path: Path) -> list[Row]:
    found: list[Row] = []
    refuse_special(path)
    try:
        if path.stat().st_size > LARGEST_ENCYCLOPEDIA:
            raise DataError(f"--wikipedia {path} is longer than {LARGEST_ENCYCLOPEDIA:,} bytes; give a part of it.")
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                record = parsed(line)
                if not isinstance(record, dict) or not all(isinstance(record.get(n), str) for n in ("title", "text")):
                    raise DataError(f"--wikipedia {path}, line {number}: title and text must be texts.")
                found.append({"title": record["title"], "text": record["text"]})
    except OSError as error:
        raise DataError(f"--wikipedia {path} cannot be read ({error.strerror}); name a file.") from None
    except ForeignError as error:
        where = f"--wikipedia {path}, line {number}"
        raise DataError(f"{where}: {error}; give JSON lines of title and text.") from None
    if not found:
        raise DataError(f"--wikipedia {path} holds no entry; give JSON lines of title and text.")
    return found
