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
# Nouns that stood where a verb is due; some are verbs too.
NOUNS = re.compile(
    r"(Order|Share|Hash|Number|Test|Lower|Importance|Binomial|Mean|Unweighted|Size)\b"
    r"|(Name|Call|Step|Sum)s? (of|by|as|and)\b|Name, "
)
# Further verbs of a first line that have left the imperative.
THIRD = re.compile(
    r"(?:,|;|\band\b|\bor\b) (adds|checks|counts|evaluates|gives|keeps|loads|puts|raises|reads|"
    r"removes|resumes|returns|saves|scores|tells|works|writes)\b"
)
# "Return" before a sentence with a verb of its own.
FINITE = re.compile(r"\b(?<!they )(?<!it )(is|are|was|has|have|stands|keeps|leaves|sees|needs|can|may|must|does)\b")
RELATIVE = re.compile(
    r"\b(what|which|that|who|whose|whether|where|if|when|why|how|while|as|whatever|whichever|however|until|after)\b"
)
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
    """The first word is no noun, no other form of a verb, and no relative pronoun."""
    word = re.split(r"[\s,.:;]", text, maxsplit=1)[0]
    if not word[:1].isupper() or NO_VERB.fullmatch(word.lower()) or NOUNS.match(text):
        return False
    return not word.endswith("s") or ENDING_IN_S.fullmatch(word.lower()) is not None


def sentences(text: str) -> list[str]:
    """Sentences of a paragraph; what a colon or a semicolon parts is one each."""
    return [part for part in re.split(r"(?<=[.:;?!])\s+", text) if part]


def leaves_the_imperative(text: str) -> bool:
    """A further verb stands in the third person, or the first line is a statement behind "Return"."""
    line = " ".join(text.split("\n\n")[0].split())
    if THIRD.search(line) and not RELATIVE.search(line[: THIRD.search(line).start()]):  # type: ignore[union-attr]
        return True
    clause = re.split(r"[.,:;(]", line, maxsplit=1)[0]
    verb = FINITE.search(clause)
    return line.startswith("Return ") and verb is not None and not RELATIVE.search(clause[: verb.start()])


def test_a_first_line_keeps_to_the_imperative() -> None:
    found = [f"{place}: {text.splitlines()[0]}" for place, text in documented() if leaves_the_imperative(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "Return a server does not tell its weights.",
        "Return the reference is taken later.",
        "Move a folder, and removes the old one.",
        "Train, or resumes a run.",
    ],
)
def test_such_lines_are_found(text: str) -> None:
    assert leaves_the_imperative(text)


def test_a_function_is_described_by_a_verb_in_the_imperative() -> None:
    found = [f"{place}: {text.splitlines()[0]}" for place, text in documented() if not is_imperative(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Return the index.", True),
        ("Pass it on.", True),
        ("`launch`: ends in one line.", False),
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
