"""One question with its answer, and the rule that puts it in the training or the held-out split."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Example:
    """A question of the world and its answer.

    Attributes:
        task: the ability it belongs to.
        prompt: what the user says.
        answer: the whole reply; where it holds "Answer: ", only what follows is scored.
        key: the identity of the item. Two wordings that share a key always fall in the same split.
        mark: "tool" or "general", as the training data states it.
    """

    task: str
    prompt: str
    answer: str
    key: str
    mark: Literal["tool", "general"] = "general"

    @property
    def split(self) -> Split:
        """The split of the item, by a hash of its key: one item in eight is held out."""
        digest = hashlib.sha256(f"{self.task}|{self.key}".encode()).digest()
        return "test" if digest[0] % 8 == 0 else "train"


Generator = Callable[[Random], Example]


def draw(generate: Generator, split: Split, count: int, rng: Random) -> list[Example]:
    """Draw `count` different examples of one split."""
    seen: set[str] = set()
    examples: list[Example] = []
    for _ in range(400 * count):
        example = generate(rng)
        if example.split == split and example.prompt not in seen:
            seen.add(example.prompt)
            examples.append(example)
            if len(examples) == count:
                return examples
    raise AssertionError(f"the world holds fewer than {count} {split} examples of this kind")
