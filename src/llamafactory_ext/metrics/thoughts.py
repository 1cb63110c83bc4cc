"""What a model answers in the end: its text without thoughts, drafts and other channels.

Known are tags such as `<think>`, with the opening one left to the prompt or the closing one missing, and the channels
of gpt-oss (its open format "harmony").
"""

from __future__ import annotations

import re

from ..toolcalls.thoughts import PAIRS

# Channels, which one of several marks ends, are looked at apart.
_PAIRS = tuple((opening, ends[0]) for opening, ends in PAIRS.items() if len(ends) == 1)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n.*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def final_text(text: str) -> str:
    """Return what stands outside of thoughts.

    A closing tag without an opening one ends a thought that the prompt has begun. A thought that never ends leaves
    nothing after it. A tag within a fenced block after the thoughts is code.
    """
    text = _final_channel(text)
    for opening, closing in _PAIRS:
        if closing.lower() in text.lower() or opening.lower() in text.lower():
            text = _without(text, opening, closing)
    return text


def spoken(text: str) -> str:
    """Return what a reply says to whoever reads it: as it is, or what is left without its thoughts."""
    said = final_text(text)
    return text if said == text else said.strip()


def _without(text: str, opening: str, closing: str) -> str:
    begins, ends = (re.compile(re.escape(tag), re.IGNORECASE) for tag in (opening, closing))
    end, begin = ends.search(text), begins.search(text)
    if end and not (begin and begin.start() < end.start()):
        return _without(text[end.end() :], opening, closing)
    kept, place = [], 0
    while True:
        begin = _outside_of_fences(begins, text, place)
        if begin is None:
            break
        kept.append(text[place : begin.start()])
        end = ends.search(text, begin.end())
        if end is None:
            return "".join(kept)
        place = end.end()
    rest = "".join((*kept, text[place:]))
    # Of thoughts within thoughts one closing tag is left.
    left = _outside_of_fences(ends, rest, 0)
    return rest[left.end() :] if left else rest


def _outside_of_fences(tag: re.Pattern[str], text: str, place: int) -> re.Match[str] | None:
    while True:
        found = tag.search(text, place)
        fence = _FENCE.search(text, place)
        if found is None or fence is None or found.start() < fence.start():
            return found
        place = fence.end()


def _final_channel(text: str) -> str:
    channels = list(_CHANNEL.finditer(text))
    if not channels:
        return text
    finals = [channel for channel in channels if channel[1] == "final"]
    if not finals:
        return text[: channels[0].start()]
    rest = text[finals[-1].end() :]
    end = _CHANNEL_END.search(rest)
    return rest[: end.start()] if end else rest
