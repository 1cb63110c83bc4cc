"""Encodes one example by upstream's own processor, and knows of every token which turn it belongs to.

The template in use is replaced by one that tags the ids of its targets; what the processor cuts and puts together is
read back from the tags: weights, turns out of the loss, and what cutoff_len has cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llamafactory.data.processor import SupervisedDatasetProcessor

from ...data.read_back import Misread, compare_turn, missing_tools
from ...errors import DataError
from ...tl.sft.examples import Judged, Settings
from ...tl.sft.tokens import TracingTokenizer, plain, target_weights
from ...toolcalls import Tool, read_tools
from ...toolcalls.thoughts import OPENING
from ...training.losses import IGNORE_INDEX
from ...training.token_weights import code_of
from .templates import call_format_of

_MOST_COLUMNS = 10_000  # remembered at a time
_WRITTEN: set[int] = set()  # hashes of columns whose tools a prompt names; kept here, not in what upstream caches by
SHIFT = 1 << 32  # above every vocabulary
_PLACE = 1 << 64  # above every tag
_MASKED = 1  # a tag: 0 is none, 1 leaves the loss, 1 + code weighs
_ORDINARY = 1 + code_of(1.0)


@dataclass(frozen=True)
class TaggedExample:
    """An example as training has it.

    Attributes:
        ids: cut by cutoff_len.
        labels: with the codes of the weights hidden in them if weights are asked for.
        whole: number of ids without the cut.
        cut_places: indices of trained turns that lose tokens.
        untrained: whether the cut takes every trained token.
        key_tokens: tokens that weigh more than 1.
        misread: what the template writes otherwise than the record says.
    """

    ids: list[int]
    labels: list[int]
    whole: int
    cut_places: tuple[int, ...]
    untrained: bool
    key_tokens: int
    misread: tuple[Misread, ...] = ()


class TaggingTemplate:
    """A template that tags the ids of its targets; everything else is the template's own."""

    def __init__(
        self,
        template: Any,
        judged: Judged | None,
        silent: Collection[int],
        settings: Settings | None,
        tools: Sequence[Tool] = (),
    ) -> None:
        self._template, self._judged, self._settings = template, judged or Judged(), settings
        self._format, self._tools = call_format_of(template), tools
        self._masked = {*self._judged.errors, *silent}
        self.misread: list[Misread] = []
        self.whole = 0
        self.sizes: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def encode_multiturn(
        self, tokenizer: Any, messages: Sequence[Mapping[str, str]], *args: Any, **options: Any
    ) -> list[tuple[list[int], list[int]]]:
        """Pairs of prompt and target, the target's ids tagged."""
        use_pkt = self._settings is not None and self._settings.use_pkt
        trace = TracingTokenizer(tokenizer) if use_pkt else None
        own = tokenizer
        pairs = self._template.encode_multiturn(trace or tokenizer, messages, *args, **options)
        if any(None in source or None in target for source, target in pairs):
            raise DataError("the tokenizer lacks a token of the template")
        tagged: list[tuple[list[int], list[int]]] = []
        for number, (traced, target) in enumerate(pairs):
            source, place = plain(traced), 2 * number + 1
            # Here the end of a target is the first token of the next prompt; it goes where its target goes.
            if self.efficient_eos and tagged and source and place - 2 in self._masked:
                source[0] += _MASKED * SHIFT
            tags = self._tags(place, target, trace, self._format if messages[place]["role"] == "function" else None)
            ids = [token + tag * SHIFT + place * _PLACE for token, tag in zip(plain(target), tags, strict=True)]
            tagged.append((source, ids))
            self.sizes[place] = len(ids)
            self._read_back(place, messages[place], ids, own)
            self.whole += len(source) + len(ids)
        self.whole += bool(self.efficient_eos)
        return tagged

    def _read_back(self, place: int, message: Mapping[str, str], ids: Sequence[int], tokenizer: Any) -> None:
        """Compare a turn of the model's with the record, where it holds calls or thoughts."""
        if place in self._masked or not (message["role"] == "function" or OPENING.search(message["content"])):
            return
        text = str(tokenizer.decode(plain(ids), skip_special_tokens=False))
        self.misread += compare_turn(place, message, text, self._tools, self._format)

    def trained_places(self, mask_history: bool) -> list[int]:
        """The turns that are learned, cut or not."""
        last = max(self.sizes, default=0)
        return [place for place in self.sizes if place not in self._masked and (not mask_history or place == last)]

    def _tags(
        self, place: int, target: Sequence[int], trace: TracingTokenizer | None, call_format: str | None
    ) -> list[int]:
        if place in self._masked:
            return [_MASKED] * len(target)
        if self._settings is None:
            return [0] * len(target)
        weights = [1.0] * len(target)
        if trace is not None and place in self._judged.calls:
            text, offsets = trace.read(target)
            weights = target_weights(
                text,
                offsets,
                self._judged.calls[place],
                self._judged.names,
                self._settings,
                tools=self._judged.tools,
                call_format=call_format,
            )
        return [1 + code_of(weight) for weight in weights]


def encode_tagged(
    processor: Any,
    example: Mapping[str, Any],
    silent: Collection[int] = (),
    judged: Judged | None = None,
    settings: Settings | None = None,
) -> TaggedExample:
    """Upstream's own encoding, cut and put together, with turns out of the loss and hidden weights.

    Args:
        processor: upstream's supervised processor, or one of ours.
        example: `_prompt`, `_response`, `_system`, `_tools`, `_images`, `_videos`, `_audios`.
        silent: indices of turns that leave the loss.
        judged: its calls; those in error leave the loss.
        settings: what weights are asked for; None for none.
    """
    own = processor.template
    declared = _declared(example["_tools"])
    processor.template = template = TaggingTemplate(own, judged, silent, settings, declared)
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
    places = [token // _PLACE for token in ids]
    tags = [token // SHIFT % SHIFT for token in ids]
    if own.efficient_eos and len(ids) > 1 and tags[-2] == _MASKED:
        labels[-1] = IGNORE_INDEX
    trained = template.trained_places(processor.data_args.mask_history)
    kept = Counter(places)
    cut = tuple(place for place in trained if kept[place] < template.sizes[place])
    weighed = settings is not None
    return TaggedExample(
        plain(ids),
        [_label(label, tag, weighed) for label, tag in zip(labels, tags, strict=True)],
        template.whole,
        cut,
        bool(trained) and not any(kept[place] for place in trained),
        sum(tag > _ORDINARY and label != IGNORE_INDEX for tag, label in zip(tags, labels, strict=True)),
        (*_lacking_tools(processor, example["_tools"], declared, places, ids), *template.misread),
    )


@lru_cache(maxsize=1024)
def _declared(column: str | None) -> tuple[Tool, ...]:
    """The tools of a record's column; none if they cannot be read, which is told elsewhere."""
    try:
        return read_tools(column)
    except DataError:
        return ()


def _lacking_tools(
    processor: Any, column: str | None, tools: Sequence[Tool], places: Sequence[int], ids: Sequence[int]
) -> list[Misread]:
    """What the prompt lacks of the declared tools; each column of tools is looked for once per template."""
    key = hash((processor.template.format_tools.tool_format, column))
    if not tools or key in _WRITTEN:
        return []
    first = next((at for at, place in enumerate(places) if place), len(places))
    found = missing_tools(str(processor.tokenizer.decode(plain(ids[:first]), skip_special_tokens=False)), tools)
    if not found and len(ids) > first:  # a prompt that cutoff_len cuts says nothing
        if len(_WRITTEN) == _MOST_COLUMNS:
            _WRITTEN.clear()
        _WRITTEN.add(key)
    return found if len(ids) > first else []


def _label(label: int, tag: int, weighed: bool) -> int:
    """A label, with its code where weights are asked for; an untagged trained token weighs 1."""
    if label == IGNORE_INDEX or tag == _MASKED:
        return IGNORE_INDEX
    if not weighed:
        return label % SHIFT
    return label % SHIFT + (tag - 1 if tag else code_of(1.0)) * SHIFT
