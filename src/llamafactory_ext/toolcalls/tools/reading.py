"""Checks that all readers of tool descriptions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamafactory_ext.errors import DataError


def mapping(data: Any, what: str) -> Mapping[str, Any]:
    """Return the data, which must be a JSON object."""
    if not isinstance(data, dict | Mapping):  # a dict first: to look for a Mapping takes long
        raise DataError(f"{what} must be a JSON object, not {type(data).__name__}; check the format's name.")
    return data


def text(data: Any, what: str) -> str:
    """Return the data, which must be a text."""
    if not isinstance(data, str):
        raise DataError(f"{what} must be a text, not {type(data).__name__}; check the format's name.")
    return data


def objects(data: Any, what: str) -> dict[str, dict[str, Any]]:
    """Return the data, which must be a JSON object of JSON objects."""
    return {
        name: dict(value if isinstance(value, dict) else mapping(value, f"{what}: {name!a}"))
        for name, value in mapping(data, what).items()
    }
