"""A record's own marks of what is learned: on a turn, or a list `loss_mask` beside the turns.

On a turn of any layout `"loss": false`, OpenAI's `"weight": 0`, Axolotl's `"train": false` and torchtune's
`"masked": true` mean the same. A mark of another name is a finding: what a record says of the loss is kept, or told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .message_parts import UnreadableError

LOSS_MASK = "loss_mask"
_PARTLY = '"weight" takes 0 and 1 only; it is trained as 1'
# Marks of a turn, and which value silences it.
_MARKS: Mapping[str, bool] = {
    "loss": False,
    "weight": False,
    "train": False,
    "training": False,
    "trainable": False,
    "train_on_turn": False,
    "masked": True,
}
# Words of which the key of any other mark is made; of the record's own keys only those that are nothing else.
_LIKE_A_MARK = re.compile(
    r"(?:^|_)(?:loss|losses|train|training|trained|trainable|learn|learned|weight|weights|mask|masks|masked)(?:_|$)"
)
_OF_RECORD = re.compile(
    r"(?:turn_|message_|train_|sample_|token_)?(?:loss|loss_?masks?|loss_weights?|masks?|weights?|train|train_on_turns?)"
)
UNKNOWN_MARK = 'is not kept; write "loss": true or false into turns, or a list "loss_mask" beside them'


@dataclass(frozen=True)
class Marks:
    """What a record says about the loss.

    Attributes:
        mask: the record's list, one item per message or per turn of the model; None for none.
    """

    mask: Any = None

    def trained(
        self, messages: Sequence[Mapping[str, Any]], by_model: Sequence[bool]
    ) -> tuple[list[bool], list[tuple[int, str]]]:
        """Tell whether each message may be learned, and what of the marks is not kept (number of the message, what).

        Args:
            messages: as the record has them, before results are merged.
            by_model: whether the model writes the message.

        Raises:
            UnreadableError: a mark of another kind, or a list of another length.
        """
        learned, lost = [True] * len(messages), []
        for place, message in enumerate(messages):
            learned[place], more = _of_turn(message, place + 1)
            if by_model[place]:
                lost += [(place + 1, what) for what in more]
        return self._masked(learned, by_model), lost

    def _masked(self, learned: list[bool], by_model: Sequence[bool]) -> list[bool]:
        if self.mask is None:
            return learned
        if not isinstance(self.mask, list | tuple):
            raise UnreadableError(
                f'"{LOSS_MASK}" is no list; write 0 or 1 for each message, or for each turn of the model'
            )
        mask = [_switch(item, f'"{LOSS_MASK}", item {place}') for place, item in enumerate(self.mask, 1)]
        own = [place for place, model in enumerate(by_model) if model]
        if len(mask) == len(by_model):
            places: Sequence[int] = range(len(mask))
        elif len(mask) == len(own):
            places = own
        else:
            raise UnreadableError(
                f'"{LOSS_MASK}" has {len(mask)} items; write one for each of the {len(by_model)} messages, or of the '
                f"{len(own)} turns of the model"
            )
        kept = dict(zip(places, mask, strict=True))
        return [was and kept.get(place, True) for place, was in enumerate(learned)]


@lru_cache(maxsize=1024)
def _is_like_a_mark(key: str) -> bool:
    return _LIKE_A_MARK.search(key.lower()) is not None


def _of_turn(message: Mapping[str, Any], number: int) -> tuple[bool, list[str]]:
    """Tell whether a turn may be learned by its own marks, and what of them is not kept."""
    said: dict[str, bool] = {}
    lost = []
    for key, value in message.items():
        if value is None:
            continue
        if key == "weight" and value not in (0, 1):
            lost.append(_PARTLY)
        elif key in _MARKS:
            said[key] = _switch(value, f'turn {number}: "{key}"') is not _MARKS[key]
        elif _is_like_a_mark(key):
            lost.append(f'"{key}" {UNKNOWN_MARK}')
    if len(set(said.values())) > 1:
        raise UnreadableError(
            f"turn {number}: {' and '.join(map(repr, said))} contradict each other; keep one of them"
        )
    return all(said.values()), lost


def unknown_marks(record: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return what a record says about the loss beside its turns in a way that nobody reads.

    Args:
        record: as the file has it.
        read: its columns that have a meaning of their own.
    """
    return [
        f'"{key}" {UNKNOWN_MARK}'
        for key, value in record.items()
        if key not in read and value is not None and _OF_RECORD.fullmatch(key.lower())
    ]


def _switch(value: Any, where: str) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    raise UnreadableError(f"{where} is {str(value)[:40]!a}; write true or false, or 1 or 0")
