"""One question with its answer, and the rule that puts it in the training or the held-out split."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["train", "test"]
Half = Literal["validation", "test"]


@dataclass(frozen=True)
class Example:
    """A question of the world and its answer.

    Attributes:
        task: the ability it belongs to.
        prompt: what the user says.
        answer: the whole reply; where it holds "Answer: ", only what follows is scored.
        key: the identity of the item. Two wordings that share a key always fall in the same split.
        mark: "tool" or "general", as the training data states it.
        after: further turns, as pairs of a tool's output and the reply to it.
    """

    task: str
    prompt: str
    answer: str
    key: str
    mark: Literal["tool", "general"] = "general"
    after: tuple[tuple[str, str], ...] = ()

    @property
    def split(self) -> Split:
        """The split of the item, by a hash of its key: one item in eight is held out."""
        return "test" if _hash(f"{self.task}|{self.key}") % 8 == 0 else "train"

    @property
    def half(self) -> Half:
        """The half of the held-out items that it belongs to: settings are chosen on one, the other is reported."""
        return "test" if _hash(f"half|{self.task}|{self.prompt}") % 2 == 0 else "validation"


def _hash(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0]


Generator = Callable[[Random], Example]


def draw(generate: Generator, split: Split | None, count: int, rng: Random, half: Half | None = None) -> list[Example]:
    """Draw `count` different examples of one split (None: of both), on request of one half of it."""
    seen: set[str] = set()
    examples: list[Example] = []
    for _ in range(2000 * count):
        example = generate(rng)
        fits = split in (None, example.split) and half in (None, example.half)
        if fits and example.prompt not in seen:
            seen.add(example.prompt)
            examples.append(example)
            if len(examples) == count:
                return examples
    raise AssertionError(f"the world holds fewer than {count} {split} examples of this kind")
