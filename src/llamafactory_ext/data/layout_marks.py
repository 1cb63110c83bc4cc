"""A record's own marks of what is learned: on a turn, or a list `loss_mask` beside the turns.

On a turn of any layout `"loss": false` and OpenAI's `"weight": 0` mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .message_parts import UnreadableError

LOSS_MASK = "loss_mask"
_PARTLY = '"weight" takes 0 and 1 only; it is trained as 1'


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
        """Whether each message may be learned, and what of the marks is not kept (number of the message, what).

        Args:
            messages: as the record has them, before results are merged.
            by_model: whether the model writes the message.

        Raises:
            UnreadableError: a mark of another kind, or a list of another length.
        """
        learned, lost = [True] * len(messages), []
        for place, message in enumerate(messages):
            if message.get("loss") is not None:
                learned[place] = _switch(message["loss"], f'turn {place + 1}: "loss"')
            elif message.get("weight") is not None:
                if message["weight"] in (0, 1):
                    learned[place] = bool(message["weight"])
                else:
                    lost.append((place + 1, _PARTLY))
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


def _switch(value: Any, where: str) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    raise UnreadableError(f"{where} is {str(value)[:40]!a}; write true or false, or 1 or 0")
