"""What a machine can count of how texts read: first words of docstrings, long sentences, worn phrases."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "llamafactory_ext"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
# First words that make no imperative: articles and pronouns, question words, conjunctions.
NO_VERB = re.compile(
    r"(an?|all|also|as|both|each|every(thing)?|its|many|most|no|nothing|of|on|one|others?|several|some|that|the|there|"
    r"these|this|those|to|two|under|upstream's|what|when|where|whether|which|while|who|whose|why|with(in|out)?|how|if|in|"
    r"for|from|after|before)"
)
# Verbs in the imperative that end like a third person.
ENDING_IN_S = re.compile(r"(pass|express|compress|process|address|discuss|guess|miss|press|toss|access|focus)")
WORN = ("no number any more", "is said so", "are said with")
LONGEST = 25


def documented() -> Iterator[tuple[str, str]]:
    """Functions and methods of the package that have a docstring; properties may say what they are."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if any("property" in ast.dump(decorator) for decorator in node.decorator_list):
                continue
            if text := ast.get_docstring(node):
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", text


def is_imperative(text: str) -> bool:
    """A patch is described by the name of what it replaces."""
    if text.startswith("`"):
        return True
    word = re.split(r"[\s,.:;]", text, maxsplit=1)[0]
    if not word[:1].isupper() or NO_VERB.fullmatch(word.lower()):
        return False
    return not word.endswith("s") or ENDING_IN_S.fullmatch(word.lower()) is not None


def sentences(text: str) -> list[str]:
    """Sentences of a paragraph; what a colon or a semicolon parts is one each."""
    return [part for part in re.split(r"(?<=[.:;?!])\s+", text) if part]


def test_a_function_is_described_by_a_verb_in_the_imperative() -> None:
    found = [f"{place}: {text.splitlines()[0]}" for place, text in documented() if not is_imperative(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Return the index.", True),
        ("Pass it on.", True),
        ("`launch`: ends in one line.", True),
        ("Returns the index.", False),
        ("The index.", False),
        ("Whether it fits.", False),
        ("What fits.", False),
        ("index of it", False),
    ],
)
def test_the_rule(text: str, expected: bool) -> None:
    assert is_imperative(text) == expected


def test_first_paragraphs_have_short_sentences_and_no_worn_phrase() -> None:
    found = []
    for place, text in documented():
        first = text.split("\n\n")[0].replace("\n", " ")
        found += [f"{place}: {one}" for one in sentences(first) if len(one.split()) > LONGEST]
        found += [f"{place}: {phrase}" for phrase in WORN if phrase in text]
    assert found == []
