"""The records of a task, and what a step trains on: the task's own, and a share of the earlier ones'."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import OptionError

Record = Mapping[str, Any]


def read_records(path: Path) -> list[Record]:
    """Return the records {instruction, input, output} of a file.

    Raises:
        OptionError: there is no such file, or it holds something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise OptionError(f"{path} does not exist; correct the path.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}).") from None
    if not isinstance(found, list):
        raise OptionError(f"{path} is no list of records; write [{{instruction, input, output}}, ...].")
    for number, record in enumerate(found, 1):
        texts = [record.get(name) for name in ("instruction", "output")] if isinstance(record, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise OptionError(f"{path}: record {number} lacks instruction or output as texts.")
        if not isinstance(record.get("input", ""), str):
            raise OptionError(f"{path}: record {number} has an input that is no text; write it as a text.")
        try:
            json.dumps(record, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise OptionError(
                f"{path}: record {number} holds half a character (a surrogate); write it whole."
            ) from None
    return found


def drawn(records: Sequence[Record], share: float, seed: int, task: str) -> list[Record]:
    """Return a share of a task's records, at least one, drawn without replacement; the same for the same seed.

    Args:
        records: of the task.
        share: above 0, up to 1.
        seed: of the run.
        task: its name, so that tasks draw independently.
    """
    count = max(1, round(share * len(records)))
    return random.Random(f"{seed} {task}").sample(list(records), count)


def training_records(tasks: Sequence[tuple[str, Sequence[Record]]], share: float, seed: int) -> list[Record]:
    """Return what the last of the tasks is trained on: its own records and a share of each earlier task's."""
    *earlier, (_, own) = tasks
    again = [record for name, records in earlier if share for record in drawn(records, share, seed, name)]
    return [*own, *again]
