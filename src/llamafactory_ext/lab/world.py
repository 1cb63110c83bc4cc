"""The synthetic world as a whole: its abilities by name, and its held-out splits."""

from random import Random

from .abilities import code, math
from .calls import calls, turns
from .example import Example, Generator, Half, Split, draw
from .facts import facts
from .instructions import instructions
from .replay import REPLAY, UNREPLAYED_FACTS
from .tools import tool_seen, tool_unseen

ABILITIES: dict[str, Generator] = {"math": math, "code": code, "facts": facts, "instructions": instructions}
HELD_OUT_SEED = 7


def sample(task: str, split: Split, count: int, seed: int) -> list[Example]:
    """Draw `count` different examples of one ability and split; the same arguments give the same examples."""
    return draw(ABILITIES[task], split, count, Random(f"{task}/{split}/{seed}"))


def replay(task: str, count: int, seed: int) -> list[Example]:
    """Draw general training data of one ability, narrower than its tests."""
    return draw(REPLAY[task], "train", count, Random(f"replay/{task}/{seed}"))


def tool_training(count: int, seed: int) -> list[Example]:
    """Draw the tool data for training: seen tools only."""
    return draw(tool_seen, "train", count, Random(f"tool/train/{seed}"))


def held_out(count: int, half: Half = "test") -> dict[str, list[Example]]:
    """Draw the evaluation sets: the four abilities, tools seen in training, and tools never seen.

    Facts are those of the towns that no replay data names, in every wording: the base knows them, and nothing else
    repeats them. All other items are held out from pre-training and from every training file.

    Args:
        count: items of each set.
        half: "validation" to choose settings on, "test" to report; they share no item.
    """
    sets = {}
    generators = ABILITIES | {"facts": UNREPLAYED_FACTS, "tool_seen": tool_seen, "tool_unseen": tool_unseen}
    for name, generate in generators.items():
        split: Split | None = None if name == "facts" else "test"
        sets[name] = draw(generate, split, count, Random(f"{name}/{half}/{HELD_OUT_SEED}"), half)
    return sets


def other_calls(count: int) -> dict[str, list[Example]]:
    """Draw what else pre-training teaches, with tools that it never showed: calls in stated formats, several turns."""
    return {
        name: draw(generate, "test", count, Random(f"{name}/{HELD_OUT_SEED}"))
        for name, generate in (("other_calls", calls), ("turns", turns))
    }
