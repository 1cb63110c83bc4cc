"""Encodes one example by upstream's own processor, and knows of every token which turn it belongs to.

The template in use is replaced by one that hands out its turns as lists which notice how they are cut: from that
follow the places of all turns, hence weights, turns out of the loss, and what cutoff_len has cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llamafactory.data.processor import SupervisedDatasetProcessor

from ...data.read_back import Misread, compare_turn, missing_tools, repeated_in_answer
from ...errors import DataError
from ...toolcalls import Tool, detect_turn, read_tools
from ...toolcalls.readings import Reader
from ...toolcalls.thoughts import OPENING
from ...training.losses import IGNORE_INDEX
from ...training.token_weights import code_of
from ...training.weighing import Judged, Weigher
from .pieces import Pieces, TracingTokenizer
from .templates import call_format_of

_MOST_COLUMNS = 10_000  # remembered at a time
_WRITTEN: set[int] = set()  # hashes of columns whose tools a prompt names; kept here, not in what upstream caches by
_ORDINARY = code_of(1.0)


@dataclass(frozen=True)
class TaggedExample:
    """An example as training has it.

    Attributes:
        ids: cut by cutoff_len.
        labels: of the same length.
        codes: of their weights; None if no weights are asked for.
        whole: number of ids without the cut.
        cut_places: indices of trained turns that lose tokens.
        untrained: whether the cut takes every trained token.
        key_tokens: tokens that weigh more than 1.
        misread: what the template writes otherwise than the record says.
    """

    ids: list[int]
    labels: list[int]
    codes: list[int] | None
    whole: int
    cut_places: tuple[int, ...]
    untrained: bool
    key_tokens: int
    misread: tuple[Misread, ...] = ()


class _Ids(list[int]):
    """Ids that remember how many of them a slice has kept; upstream's processor cuts each turn once."""

    kept = 0

    def __getitem__(self, key: Any) -> Any:
        """Return the ids themselves; of a slice, a plain list."""
        found = super().__getitem__(key)
        if isinstance(key, slice):
            self.kept = len(found)
        return found


class TaggingTemplate:
    """A template that remembers the turns that it hands out; everything else is the template's own.

    Attributes:
        turns: (source, target) of each turn of the model's, in order.
        weights: of the tokens of a target, by the turn's index, where they are not all 1.
        misread: what the template writes otherwise than the record says.
    """

    def __init__(
        self,
        template: Any,
        judged: Judged | None,
        silent: Collection[int],
        settings: Weigher | None,
        tools: Sequence[Tool] = (),
        pieces: Pieces | None = None,
        read: Reader = detect_turn,
    ) -> None:
        self._template, self._judged, self._settings = template, judged or Judged(), settings
        self._format, self._tools, self._pieces, self._read = call_format_of(template), tools, pieces, read
        self.masked = {*self._judged.errors, *silent}
        self.turns: list[tuple[_Ids, _Ids]] = []
        self.weights: dict[int, list[float]] = {}
        self.misread: list[Misread] = []
        self._trace: TracingTokenizer | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def encode_multiturn(
        self, tokenizer: Any, messages: Sequence[Mapping[str, str]], *args: Any, **options: Any
    ) -> list[tuple[list[int], list[int]]]:
        """Return pairs of prompt and target."""
        pieces = Pieces(tokenizer) if self._pieces is None else self._pieces
        weighs = self._settings is not None and self._settings.weighs_tokens
        named = {call.name for calls in self._judged.calls.values() for call in calls} if weighs else ()
        trace = TracingTokenizer(tokenizer, pieces, named) if weighs or pieces.fast else None
        pairs = self._template.encode_multiturn(trace or tokenizer, messages, *args, **options)
        if (trace is None or trace.lacks_token) and any(None in source or None in target for source, target in pairs):
            raise DataError("the tokenizer lacks a token of the template")
        self.turns = [(_Ids(source), _Ids(target)) for source, target in pairs]
        self._trace = trace
        for number, (_, target) in enumerate(self.turns):
            place = 2 * number + 1
            if place not in self.masked:
                self._look_at(place, messages[place], target, tokenizer)
                if messages[place]["role"] == "assistant":
                    answered = place + 1 < len(messages) and messages[place + 1]["role"] == "observation"
                    self.misread += repeated_in_answer(
                        place, messages[place]["content"], self._tools, answered=answered, read=self._read
                    )
        return list(self.turns)

    def _look_at(self, place: int, message: Mapping[str, str], target: Sequence[int], tokenizer: Any) -> None:
        """Weigh the tokens of one turn, and compare it with the record where it holds calls or thoughts."""
        call_format = self._format if message["role"] == "function" else None
        text = None
        if place in self._judged.calls and self._settings is not None and self._settings.weighs_tokens:
            assert self._trace is not None
            text, offsets = self._trace.read(target)
            self.weights[place] = self._settings.weights(
                text, offsets, self._judged.calls[place], self._judged, call_format, self._read
            )
        if message["role"] == "function" or OPENING.search(message["content"]):
            text = text or self.text_of(target, tokenizer)
            self.misread += compare_turn(place, message, text, self._tools, self._format, self._read)

    def text_of(self, ids: Sequence[int], tokenizer: Any) -> str:
        """Return the text of ids, special tokens as they are."""
        if self._trace is not None:
            return self._trace.text_of(ids)
        return str(tokenizer.decode(list(ids), skip_special_tokens=False))


def encode_tagged(
    processor: Any,
    example: Mapping[str, Any],
    silent: Collection[int] = (),
    judged: Judged | None = None,
    settings: Weigher | None = None,
    pieces: Pieces | None = None,
    read: Reader = detect_turn,
) -> TaggedExample:
    """Return upstream's own encoding, cut and put together, with turns out of the loss and weights beside.

    Args:
        processor: upstream's supervised processor, or one of ours.
        example: `_prompt`, `_response`, `_system`, `_tools`, `_images`, `_videos`, `_audios`.
        silent: indices of turns that leave the loss.
        judged: its calls; those in error leave the loss.
        settings: what weights are asked for; None for none.
        pieces: encodes texts for several examples; None for this one alone.
        read: reads the calls of texts.
    """
    own = processor.template
    declared = declared_tools(example["_tools"]) or ()
    processor.template = template = TaggingTemplate(own, judged, silent, settings, declared, pieces, read)
    try:
        ids, labels = SupervisedDatasetProcessor._encode_data_example(
            processor,
            prompt=example["_prompt"],
            response=example["_response"],
            system=example["_system"],
            tools=example["_tools"],
            images=example.get("_images") or [],
            videos=example.get("_videos") or [],
            audios=example.get("_audios") or [],
        )
    finally:
        processor.template = own
    last = 2 * len(template.turns) - 1
    trained = [
        place
        for place in range(1, last + 1, 2)
        if place not in template.masked and (not processor.data_args.mask_history or place == last)
    ]
    kept = {place: template.turns[place // 2][1].kept for place in trained}
    heavy = _label(labels, len(ids), template)
    return TaggedExample(
        ids,
        labels,
        _codes(labels, heavy, template, processor.data_args) if settings is not None else None,
        sum(len(source) + len(target) for source, target in template.turns) + bool(own.efficient_eos),
        tuple(place for place in trained if kept[place] < len(template.turns[place // 2][1])),
        bool(trained) and not any(kept.values()),
        sum(weight > 1 for _, weight in heavy) if settings is not None else 0,
        (*_lacking_tools(processor, example["_tools"], declared, template), *template.misread),
    )


def _label(labels: list[int], length: int, template: TaggingTemplate) -> list[tuple[int, float]]:
    """Take masked turns out of the labels; return the places of the tokens whose weight is not 1, and the weights.

    Args:
        labels: of upstream's, changed in place.
        length: of the example.
        template: which turns it has, and how they were cut.
    """
    ends_itself = bool(template.efficient_eos)
    kept = sum(source.kept + target.kept for source, target in template.turns)
    start = length - kept - ends_itself  # media come first
    before = False
    heavy: list[tuple[int, float]] = []
    for number, (source, target) in enumerate(template.turns):
        place, begin = 2 * number + 1, start + source.kept
        # Here the end of a target is the first token of the next prompt; it goes where its target goes.
        if ends_itself and before and source.kept:
            labels[start] = IGNORE_INDEX
        start = begin + target.kept
        before = place in template.masked
        if before:
            labels[begin:start] = [IGNORE_INDEX] * target.kept
        elif weights := template.weights.get(place):
            heavy += [(begin + at, weight) for at, weight in enumerate(weights[: target.kept]) if weight != 1]
    if ends_itself and before and template.turns[-1][1].kept:
        labels[-1] = IGNORE_INDEX
    return [(at, weight) for at, weight in heavy if labels[at] != IGNORE_INDEX]


def _codes(
    labels: Sequence[int], heavy: Sequence[tuple[int, float]], template: TaggingTemplate, data_args: Any
) -> list[int]:
    """Return the codes of the weights of labels: 1 where a token is trained, but for the heavy ones."""
    sizes = [(source.kept, target.kept) for source, target in template.turns]
    if template.efficient_eos or data_args.train_on_prompt or sum(map(sum, sizes)) < len(labels):
        codes = [0 if label == IGNORE_INDEX else _ORDINARY for label in labels]
    else:  # targets are trained as a whole, or not at all
        codes = []
        for source, target in sizes:
            codes += [0] * source
            trained = target > 0 and labels[len(codes)] != IGNORE_INDEX
            codes += [_ORDINARY if trained else 0] * target
    for at, weight in heavy:
        codes[at] = code_of(weight)
    return codes


@lru_cache(maxsize=256)
def _read_column(column: str | None) -> tuple[Tool, ...] | None:
    try:
        return read_tools(column)
    except DataError:
        return None


def declared_tools(column: Any) -> tuple[Tool, ...] | None:
    """Return the tools of a record's column; None if they cannot be read."""
    return None if column is not None and not isinstance(column, str) else _read_column(column)


def _lacking_tools(
    processor: Any, column: str | None, tools: Sequence[Tool], template: TaggingTemplate
) -> list[Misread]:
    """Return what the prompt lacks of the declared tools; each column of tools is looked for once per template."""
    key = hash((processor.template.format_tools.tool_format, column))
    turns = template.turns
    if not tools or key in _WRITTEN or not turns or turns[0][0].kept < len(turns[0][0]):
        return []  # a prompt that cutoff_len cuts says nothing
    found = missing_tools(template.text_of(turns[0][0], processor.tokenizer), tools)
    if not found:
        if len(_WRITTEN) == _MOST_COLUMNS:
            _WRITTEN.clear()
        _WRITTEN.add(key)
    return found
