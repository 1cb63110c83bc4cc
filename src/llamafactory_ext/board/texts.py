"""The panels' texts by language, in the shape of the Board's own table."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from .panels import PANELS

LANGUAGES = ("en", "ru", "zh", "ko", "ja")  # the Board's
FALLBACK = "en"
FOLDER = Path(__file__).parent / "locales"


@cache
def texts(language: str) -> dict[str, Any]:
    """Return the file of a language: `elements` (name to label, info, value ...) and `messages` (name to text)."""
    path = FOLDER / f"{language}.json"
    found: dict[str, Any] = json.loads((path if path.is_file() else FOLDER / f"{FALLBACK}.json").read_text("utf-8"))
    return found


def message(name: str, language: str, **values: Any) -> str:
    """Return one message with its values put in."""
    text = texts(language)["messages"].get(name) or texts(FALLBACK)["messages"].get(name, name)
    return str(text).format(**values)


def element_text(name: str, language: str) -> dict[str, Any]:
    """Return what the element shows besides its value.

    Of an option nobody has put into words, its name and its help.
    """
    return table()[name].get(language, table()[name][FALLBACK])


@cache
def table() -> dict[str, dict[str, dict[str, Any]]]:
    """Return element name to language to what the element shows, for every element of ours."""
    # The page takes <output_dir> for a tag.
    declared = {
        option.name: {"label": option.name, "info": escape(option.help, quote=False)}
        for panel in PANELS
        for option in panel.options
    }
    declared |= {panel.name: {"label": panel.label} for panel in PANELS}
    named = texts(FALLBACK)["elements"]
    return {
        name: {
            language: {**declared.get(name, {}), **named.get(name, {}), **texts(language)["elements"].get(name, {})}
            for language in LANGUAGES
        }
        for name in {**named, **declared}
    }
