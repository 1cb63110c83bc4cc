"""Sets of tools that arrive one after the other, without their documentation in the prompt, and general questions.

For continual learning: tools have invented names, which no request tells, so they have to be kept in the weights. Sets
share verbs, nouns and kinds of values, but no tool and no name.
"""

import dataclasses
from functools import partial
from pathlib import Path
from random import Random

from ..checkpoint.own import claim, claim_plain, own_json
from . import words, world
from .example import Example, Split, draw
from .tools import TOOLS, Tool, tool_request

SETS = ("tools_a", "tools_b", "tools_c")
TOOLS_OF_A_SET = 8
TRAIN, TEST, GENERAL = 160, 60, 25
_SEED = 5

Record = dict[str, str]


def toolsets() -> dict[str, tuple[Tool, ...]]:
    """Return sets of different tools by name; always the same."""
    found, names = list(TOOLS["seen"] + TOOLS["unseen"]), words.brands()
    rng = Random(_SEED)
    rng.shuffle(found)
    rng.shuffle(names)
    tools = [dataclasses.replace(tool, called=name) for tool, name in zip(found, names, strict=False)]
    size = TOOLS_OF_A_SET
    return {name: tuple(tools[i * size : (i + 1) * size]) for i, name in enumerate(SETS)}


def sequence_files(train: int = TRAIN, test: int = TEST, general: int = GENERAL) -> dict[str, list[Record]]:
    """Return the records of every file by its path; always the same.

    Args:
        train: training items of each set.
        test: test items of each set, none of them a training item.
        general: items of each general ability.
    """
    files: dict[str, list[Record]] = {}
    counts: dict[Split, int] = {"train": train, "test": test}
    for name, tools in toolsets().items():
        for split, count in counts.items():
            # The two splits differ in what is said, not in the tools.
            found = draw(partial(tool_request, tools), split, count, Random(f"{name} {split}"))
            files[f"{name}/{split}.json"] = [_record(example) for example in found]
    items = [example for task in world.ABILITIES for example in world.sample(task, "test", general, _SEED)]
    files["general.json"] = [_record(example) for example in items]
    return files


def write_sequence(out: Path) -> list[Path]:
    """Write the files into a folder; return their paths."""
    files = {out / name: records for name, records in sequence_files().items()}
    claim_plain(out)
    claim(files)
    for path, records in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        own_json(path, records)
    return list(files)


def _record(example: Example) -> Record:
    return {"instruction": example.prompt, "input": "", "output": example.answer}
