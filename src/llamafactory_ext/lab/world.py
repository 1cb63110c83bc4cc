"""The synthetic world as a whole: its abilities by name, and its held-out splits."""

from random import Random

from .abilities import code, math
from .example import Example, Generator, Split, draw
from .facts import facts
from .instructions import instructions
from .tools import tool_seen, tool_unseen

ABILITIES: dict[str, Generator] = {"math": math, "code": code, "facts": facts, "instructions": instructions}
HELD_OUT_SEED = 7
# The closed knowledge base has 227 held-out pairs of fact and wording.
HELD_OUT_FACTS = 220


def sample(task: str, split: Split, count: int, seed: int) -> list[Example]:
    """Draw `count` different examples of one ability and split; the same arguments give the same examples."""
    return draw(ABILITIES[task], split, count, Random(f"{task}/{split}/{seed}"))


def tool_training(count: int, seed: int) -> list[Example]:
    """Draw the tool data for training: seen tools only."""
    return draw(tool_seen, "train", count, Random(f"tool/train/{seed}"))


def held_out(count: int) -> dict[str, list[Example]]:
    """Return the evaluation sets: the four abilities, tools seen in training, and tools never seen.

    Each holds `count` items; facts at most 220.
    """
    sets = {
        task: sample(task, "test", min(count, HELD_OUT_FACTS) if task == "facts" else count, HELD_OUT_SEED)
        for task in ABILITIES
    }
    sets["tool_seen"] = draw(tool_seen, "test", count, Random(f"tool_seen/{HELD_OUT_SEED}"))
    sets["tool_unseen"] = draw(tool_unseen, "test", count, Random(f"tool_unseen/{HELD_OUT_SEED}"))
    return sets
