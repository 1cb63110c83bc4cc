"""IFEval's rules (Zhou et al., arXiv:2311.07911), as far as plain text decides them.

Two rules are left out, and with them the prompts that ask for them: the language of a reply, and its number of
sentences, which the published code leaves to models of langdetect and nltk. Rules on case look at the letters alone,
and words are what a regular expression takes for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Rule = Callable[[str, Mapping[str, Any]], bool]
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCE = re.compile(r"\A```(?:json)?\s*|\s*```\Z", re.IGNORECASE)


def _compare(count: int, relation: str, wanted: int) -> bool:
    return count < wanted if relation == "less than" else count >= wanted


def _found(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.IGNORECASE))


def _parts(text: str, mark: str) -> list[str] | None:
    """Return the texts between marks; None where one within is empty."""
    parts = [part.strip() for part in text.split(mark)]
    parts = parts[1:] if parts and not parts[0] else parts
    parts = parts[:-1] if parts and not parts[-1] else parts
    return parts if parts and all(parts) else None


def _paragraphs(text: str, given: Mapping[str, Any]) -> bool:
    parts = _parts(text, "***")
    return parts is not None and len(parts) == given["num_paragraphs"]


def _first_word(text: str, given: Mapping[str, Any]) -> bool:
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    place = given["nth_paragraph"]
    if len(parts) != given["num_paragraphs"] or not 1 <= place <= len(parts):
        return False
    word = re.match(r"""['"]*([^\s.,?!'"]*)""", parts[place - 1])
    return word is not None and word[1].lower() == str(given["first_word"]).lower()


def _postscript(text: str, given: Mapping[str, Any]) -> bool:
    letters = [re.escape(letter) for letter in str(given["postscript_marker"]).lower() if letter.isalpha()]
    return re.search(r"\.?\s?".join(letters), text.lower()) is not None


def _bullets(text: str, given: Mapping[str, Any]) -> bool:
    return len(re.findall(r"^\s*(?:\*[^*\n]|-)", text, re.MULTILINE)) == given["num_bullets"]


def _highlighted(text: str, given: Mapping[str, Any]) -> bool:
    spans = re.findall(r"\*\*([^\n*]+)\*\*|\*([^\n*]+)\*", text)
    return sum(any(part.strip() for part in span) for span in spans) >= given["num_highlights"]


def _sections(text: str, given: Mapping[str, Any]) -> bool:
    return len(re.findall(rf"{re.escape(str(given['section_spliter']))}\s?\d+", text)) >= given["num_sections"]


def _is_json(text: str, _: Mapping[str, Any]) -> bool:
    try:
        json.loads(_FENCE.sub("", text.strip()))
    except (ValueError, RecursionError):
        return False
    return True


def _two_replies(text: str, _: Mapping[str, Any]) -> bool:
    parts = _parts(text, "******")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def _capital_words(text: str, given: Mapping[str, Any]) -> bool:
    count = sum(word.isupper() for word in re.findall(r"\b[\w'-]+\b", text))
    return _compare(count, given["capital_relation"], given["capital_frequency"])


RULES: Mapping[str, Rule] = {
    "keywords:existence": lambda text, given: all(_found(re.escape(word), text) for word in given["keywords"]),
    "keywords:frequency": lambda text, given: _compare(
        _found(re.escape(given["keyword"]), text), given["relation"], given["frequency"]
    ),
    "keywords:forbidden_words": lambda text, given: (
        not any(_found(rf"\b{re.escape(word)}\b", text) for word in given["forbidden_words"])
    ),
    "keywords:letter_frequency": lambda text, given: _compare(
        text.lower().count(str(given["letter"]).lower()), given["let_relation"], given["let_frequency"]
    ),
    "length_constraints:number_words": lambda text, given: _compare(
        len(re.findall(r"\w+", text)), given["relation"], given["num_words"]
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda text, given: (
        len(re.findall(r"\[.*?\]", text)) >= given["num_placeholders"]
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda text, _: any(answer in text for answer in _ANSWERS),
    "detectable_format:number_highlighted_sections": _highlighted,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": lambda text, _: any(one.strip() for one in re.findall(r"<<([^\n<>]+)>>", text)),
    "combination:two_responses": _two_replies,
    "combination:repeat_prompt": lambda text, given: (
        text.strip().lower().startswith(str(given["prompt_to_repeat"]).strip().lower())
    ),
    "startend:end_checker": lambda text, given: (
        text.strip().strip('"').lower().endswith(str(given["end_phrase"]).strip().lower())
    ),
    "startend:quotation": lambda text, _: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"',
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda text, _: text.isupper(),
    "change_case:english_lowercase": lambda text, _: text.islower(),
    "punctuation:no_comma": lambda text, _: "," not in text,
}


# What each rule is given: a number, a text, or a list of texts.
_GIVEN: Mapping[str, Mapping[str, type]] = {
    "keywords:existence": {"keywords": list},
    "keywords:frequency": {"keyword": str, "relation": str, "frequency": int},
    "keywords:forbidden_words": {"forbidden_words": list},
    "keywords:letter_frequency": {"letter": str, "let_relation": str, "let_frequency": int},
    "length_constraints:number_words": {"relation": str, "num_words": int},
    "length_constraints:number_paragraphs": {"num_paragraphs": int},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": int, "nth_paragraph": int, "first_word": str},
    "detectable_content:number_placeholders": {"num_placeholders": int},
    "detectable_content:postscript": {"postscript_marker": str},
    "detectable_format:number_bullet_lists": {"num_bullets": int},
    "detectable_format:number_highlighted_sections": {"num_highlights": int},
    "detectable_format:multiple_sections": {"section_spliter": str, "num_sections": int},
    "combination:repeat_prompt": {"prompt_to_repeat": str},
    "startend:end_checker": {"end_phrase": str},
    "change_case:capital_word_frequency": {"capital_relation": str, "capital_frequency": int},
}


def odd_values(name: str, given: Mapping[str, Any]) -> list[str]:
    """Return the names of what a rule needs and is not given, or is given as another kind."""
    return [
        needed
        for needed, kind in _GIVEN.get(name, {}).items()
        if type(value := given.get(needed)) is not kind
        or (isinstance(value, list) and not all(isinstance(word, str) for word in value))
    ]


def can_be_judged(rules: Iterable[tuple[str, Mapping[str, Any]]]) -> bool:
    """Tell whether every rule of a prompt is known here."""
    return all(name in RULES for name, _ in rules)


def kept(text: str, rules: Iterable[tuple[str, Mapping[str, Any]]]) -> list[bool]:
    """Return for each rule whether a reply keeps it; an empty reply keeps none."""
    return [bool(text.strip()) and RULES[name](text, given) for name, given in rules]
