"""Marks of calls that stand where no call could be read: closing ones without a beginning, and misspelt ones.

A mark that is only named in prose is none: an opening one has a call's first sign behind it, a closing one a call's
last sign before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .near import is_slip, near_word

# Opening marks and the format of each; a tag that goes on with a name ends with "=".
_OPENINGS = {
    "tool_call": "qwen",
    "tool_calls": "minimax1",
    "seed:tool_call": "seed_oss",
    "minimax:tool_call": "minimax2",
    "function=": "qwen3_coder",
    "invoke name=": "minimax2",
    "｜DSML｜function_calls": "deepseek_v32",
    "｜DSML｜invoke name=": "deepseek_v32",
    "｜tool▁calls▁begin｜": "deepseek_v31",
    "｜tool▁call▁begin｜": "deepseek_v31",
    "|tool_call|": "granite",
    "|tool_call": "gemma4",
    "|tool_call_start|": "lfm2",
    "|tool_call_begin|": "kimi_k2",
    "|tool_calls_section_begin|": "kimi_k2",
    "|python_start|": "pythonic",
    "|action_start|": "internlm2",
    "|START_ACTION|": "command_r",
    "[TOOL_CALLS]": "mistral",
}
_CLOSINGS = {
    "/tool_call": "qwen",
    "/tool_calls": "minimax1",
    "/seed:tool_call": "seed_oss",
    "/minimax:tool_call": "minimax2",
    "/｜DSML｜function_calls": "deepseek_v32",
    "/｜DSML｜invoke": "deepseek_v32",
    "｜tool▁calls▁end｜": "deepseek_v31",
    "｜tool▁call▁end｜": "deepseek_v31",
    "|/tool_call|": "phi4",
    "tool_call|": "gemma4",
    "|tool_call_end|": "lfm2",
    "|tool_calls_section_end|": "kimi_k2",
    "|python_end|": "pythonic",
    "|action_end|": "internlm2",
    "|END_ACTION|": "command_r",
    "|call|": "harmony",
    "bot_end": "nexusraven",
}
# Formats that share marks; a mark is one of each of them.
_SHARED = (
    {"qwen", "ling", "glm4_moe", "qwen3_coder", "granite"},
    {"mistral", "mistral_v11"},
    {"deepseek_v3", "deepseek_v31"},
    {"kimi_k2", "lfm2"},
    {"granite", "phi4"},
    {"qwen3_coder", "seed_oss", "llama31_function"},
)
_LABEL = "action input"
_FENCE, _ACTION, _FUNCTOOLS = "tool_code", "action", "functools"
_WORD = re.compile(r"[A-Za-z]++\Z")
_LONGEST_WORD, _LONGEST = 20, 4_000
STRAY = re.compile(
    r"<(?P<tag>[/|｜]?[^\W\d][\w:.▁｜|/-]{2,40}+)(?P<more> name=|=)?+(?P<end>>)?+"
    r"|(?P<bracket>\[[A-Z_ -]{6,14}+\]?)"
    r"|(?m:^[ \t*]*+(?P<label>[A-Za-z]{4,9}[ _-]?[A-Za-z]{4,8})\**+[ \t]*+:\**+)(?=[ \t]*+\{\s*+[\"'}])"
    r"|(?m:^[ \t*]*+(?P<action>[A-Za-z]{4,8})\**+:\**+)(?=\s*+```[a-z]*+\s*+\[\s*+\{)"
    r"|(?<=[A-Za-z])(?P<list>\[)(?=\s*+\{\s*+\")"
    r"|```(?P<fence>[a-z]++(?:[_ -][a-z]++)?)[ \t]*+\n"
)
_NEEDS = ("<", "[", "```", "{")
_CALL_AHEAD = re.compile(
    r"\s*+(?:[\[{]\s*+[\[{\"'\w}]|<|[\"']?[^\W\d][\w.-]*+[\"']?\s*+(?:[({<>]|\[ARGS\]|\[CALL_ID\]|=))"
)
_ENDED = re.compile(r"(?:[}\])]|</[^<>]*+>)\s*+\Z")
_NEAR = 60  # characters before a closing mark that tell whether a call ends there


def may_hold_strays(text: str) -> bool:
    """Tell whether a search for such marks is worth while."""
    return any(need in text for need in _NEEDS)


def holds_strays(text: str, known: str | None) -> bool:
    """Tell whether such a mark stands in a text in which no format is looked for.

    Thoughts and comments are no reason.
    """
    return may_hold_strays(text) and any(stray_mark(text, found, known) for found in STRAY.finditer(text))


@dataclass(frozen=True)
class Stray:
    """A mark that no call took.

    Attributes:
        start, end: where it stands.
        form: a format whose mark it is.
        problem: what is wrong, in words.
        whole: whether it is an end mark as it should be.
    """

    start: int
    end: int
    form: str
    problem: str
    whole: bool


def stray_mark(text: str, found: re.Match[str], known: str | None) -> Stray | None:
    """Return the mark that stands here, if it is a call's and a call was meant.

    Args:
        text: all of it.
        found: a match of `STRAY`.
        known: the format that calls have; None for any.
    """
    form, problem, whole = _judged(text, found)
    if form is None or (known is not None and known != form and not any({known, form} <= one for one in _SHARED)):
        return None
    return Stray(found.start(), found.end(), form, problem, whole)


def _judged(text: str, found: re.Match[str]) -> tuple[str | None, str, bool]:
    """Return the format whose mark was meant, what is wrong, and whether it is an end mark as it should be."""
    if found["label"] is not None:
        meant = near_word(found["label"].replace("_", " ").lower(), (_LABEL,))
        return (
            "react" if meant else None,
            '"Action Input:" with "Action:" and a tool\'s name before it was meant',
            False,
        )
    if found["fence"] is not None:
        return "tool_code" if is_slip(found["fence"], (_FENCE,)) else None, f"```{_FENCE} was meant", False
    if found["action"] is not None:
        return "command_r" if is_slip(found["action"].lower(), (_ACTION,)) else None, '"Action:" was meant', False
    if found["list"] is not None:
        before = _WORD.search(text, max(found.start() - _LONGEST_WORD, 0), found.start())
        return "phi4" if before and is_slip(before[0], (_FUNCTOOLS,)) else None, f"{_FUNCTOOLS} was meant", False
    word = found["bracket"] or found["tag"] + (found["more"] or "")
    closing, opening = near_word(word, _like(word, tuple(_CLOSINGS))), near_word(word, _like(word, tuple(_OPENINGS)))
    if closing is not None and word not in _OPENINGS and _ends_call(text, found.start()):
        what = "ends a call, and none could be read before it" if closing == word else "was meant"
        return _CLOSINGS[closing], f"<{closing}> {what}", closing == word
    whole = bool(found["end"] or found["more"] or found["bracket"])
    if opening is not None and (opening != word or not whole) and _CALL_AHEAD.match(text, found.end()):
        shown = opening if opening.startswith("[") else f"<{opening}{'' if opening.endswith('=') else '>'}"
        return _OPENINGS[opening], f"{shown} was meant", False
    if opening == word and found["end"] and _holds_a_call(text, found.end(), f"</{word}>"):
        return _OPENINGS[word], f"a call is expected between <{word}> and </{word}>", False
    return None, "", False


def _holds_a_call(text: str, start: int, closing: str) -> bool:
    """Tell whether an end mark follows, and what stands before it is more than the words of a sentence."""
    end = text.find(closing, start, start + _LONGEST)
    return end >= 0 and any(sign in text[start:end] for sign in "{<=")


@lru_cache(maxsize=512)
def _like(word: str, marks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the marks that begin and end as a word does: a slip makes no end mark of a tag, and no name behind it."""
    kind = word.startswith("/"), word.endswith("=")
    return tuple(mark for mark in marks if (mark.startswith("/"), mark.endswith("=")) == kind)


def _ends_call(text: str, place: int) -> bool:
    return _ENDED.search(text, max(place - _NEAR, 0), place) is not None
