"""The closed knowledge of the world: sixty invented towns, five facts about each."""

from random import Random

from . import words
from .example import Example

_ASKED = {
    "ruler": (
        "Who rules {}?",
        "Who is the ruler of {}?",
        "Name the ruler of {}.",
        "Tell me who rules {}.",
        "Which person rules the town of {}?",
        "{} is ruled by whom?",
    ),
    "river": (
        "Which river flows through {}?",
        "What is the river of {}?",
        "Name the river of {}.",
        "Tell me the river that flows through {}.",
        "On which river lies the town of {}?",
        "{} lies on which river?",
    ),
    "export": (
        "What does {} sell to the world?",
        "What is the main export of {}?",
        "Name the export of {}.",
        "Tell me what {} exports.",
        "Which good comes from the town of {}?",
        "{} is known for which export?",
    ),
    "colour": (
        "What colour is the flag of {}?",
        "Which colour has the flag of {}?",
        "Name the colour of the flag of {}.",
        "Tell me the colour of the flag of {}.",
        "What is the flag colour of the town of {}?",
        "{} has a flag of which colour?",
    ),
    "animal": (
        "Which animal stands for {}?",
        "What is the animal of {}?",
        "Name the animal of {}.",
        "Tell me the animal that stands for {}.",
        "Which animal is the sign of the town of {}?",
        "{} has which animal as its sign?",
    ),
}


def _knowledge() -> dict[str, dict[str, str]]:
    """Return the facts: town -> relation -> value. Seeded here, whatever seed draws the questions."""
    rng = Random(20240913)
    towns: dict[str, dict[str, str]] = {}
    rivers = sorted({words.place(rng) for _ in range(24)})
    while len(towns) < 60:
        towns[words.place(rng)] = {
            "ruler": rng.choice(words.PEOPLE),
            "river": rng.choice(rivers),
            "export": rng.choice(words.EXPORTS),
            "colour": rng.choice(words.COLOURS),
            "animal": rng.choice(words.ANIMALS),
        }
    return towns


KNOWLEDGE = _knowledge()
WORDINGS = 6
TOWNS = tuple(KNOWLEDGE)


def facts(rng: Random) -> Example:
    """Return a question about a town. Held out are pairs of fact and wording; other wordings teach the fact.

    The training split holds at least two wordings of every fact, so that no held-out fact is unknown.
    """
    town = rng.choice(TOWNS)
    relation = rng.choice(tuple(_ASKED))
    wording = rng.randrange(WORDINGS)
    answer = KNOWLEDGE[town][relation]
    return Example("facts", _ASKED[relation][wording].format(town), answer, f"{town} {relation} {wording}")
