"""Records in which one object has the same key twice: JSON readers keep the last value and say nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...toolcalls.pairs import Pairs

_MARK = "ext_repeated_key"


class Repeated(dict[str, Any]):
    """A record of which one object has a key twice, with the last values.

    Attributes:
        key: the first such key.
    """

    def __init__(self, record: Mapping[str, Any], key: str) -> None:
        super().__init__(record)
        self.key = key


def noted(pairs: Pairs, value: Any) -> Any:
    """Return a record that was just decoded: as `Repeated` if an object had a key twice."""
    key = pairs.take()
    return Repeated(value, key) if key is not None and isinstance(value, dict) else value


def repeated_key(record: Any) -> str | None:
    """Return the key that a record has twice, None if there is none."""
    if isinstance(record, Repeated):
        return record.key
    return str(record[_MARK]) if isinstance(record, Mapping) and record.keys() == {_MARK} else None


def as_text(record: Any) -> str:
    """Write a record as one JSON text; of one with a repeated key the key alone, as nothing else of it is read."""
    return json.dumps({_MARK: record.key} if isinstance(record, Repeated) else record)


def fault_of(key: str) -> str:
    """Say what is wrong."""
    return f'the key "{key}" stands twice in one object, of which readers keep the last; take one out'
