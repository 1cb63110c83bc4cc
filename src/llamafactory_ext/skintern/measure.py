"""Measure a model on calls of tools, bare and with documents, as training goes (arXiv:2409.13183 on tools)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from ..checkpoint.atomic import read_json, write_json
from ..data.entries import DataEntry
from ..errors import CallParseError, CheckpointError, DataError
from ..toolcalls import ToolCall, detect, read_tools
from .flops import ModelSize, cache_bytes, generation_flops
from .internalised import (
    FILE,
    INVENTED,
    SEEN_BARE,
    SEEN_DOCUMENTS,
    UNSEEN_DOCUMENTS,
    CallCost,
    Internalised,
    Row,
    Share,
    from_json,
)
from .records import read_skintern_records

_BATCH: Final = 64
_SPARE: Final = 16  # tokens that a reply may be longer than the longest right one


@dataclass(frozen=True)
class Item:
    """A request with its right call; tools are the documents, as the record has them."""

    question: str
    answer: str
    tools: str
    calls: tuple[ToolCall, ...]


def read_items(name: str, folder: Path) -> list[Item]:
    """Return the items of a data set of tool calls.

    Raises:
        DataError: a record without tools, or whose answer is no call.
    """
    entry = DataEntry.named(name, folder)
    items = []
    for record in read_skintern_records(entry):
        calls = _calls(record.answer)
        if not record.tools or not calls:
            lack = "its answer is no call" if record.tools else "it has no tools"
            raise DataError(
                f"{entry.path}, {record.place}: {lack}; skintern_measure reads requests with tools and their calls."
            )
        items.append(Item(record.question, record.answer, record.tools, tuple(calls)))
    if not items:
        raise DataError(f"{entry.path} has no records; skintern_measure needs some.")
    return items


def _calls(text: str) -> list[ToolCall]:
    try:
        return [found.call for found in detect(text)]
    except (CallParseError, DataError):
        return []


def names_of(items: Sequence[Item]) -> frozenset[str]:
    """Return the names of all tools that items document or call."""
    documented = {tool.name for item in items for tool in read_tools(item.tools)}
    return frozenset(documented | {call.name for item in items for call in item.calls})


def is_right(item: Item, reply: str) -> bool:
    """Tell whether a reply makes the right calls, arguments in any order, values as texts."""
    return [_plain(call) for call in _calls(reply)] == [_plain(call) for call in item.calls]


def _plain(call: ToolCall) -> tuple[str, tuple[tuple[str, str], ...]]:
    return call.name, tuple(sorted((key, str(value)) for key, value in call.arguments.items()))


class Measure:
    """Measures one run; rows are kept in its folder, so that a resumed run measures nothing twice.

    Args:
        folder: of the run.
        tokenizer: of the model.
        template: upstream's.
        seen: requests for tools that are trained.
        unseen: for others; none leaves their figure out.
        seed: of the run.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: Any,
        template: Any,
        seen: Sequence[Item],
        unseen: Sequence[Item],
        seed: int,
    ) -> None:
        self.path, self.tokenizer, self.template = folder / FILE, tokenizer, template
        self.seen, self.unseen, self.seed = seen, unseen, seed
        self.known = names_of([*seen, *unseen])

    def kept(self) -> dict[int, Row]:
        """Return the rows so far, by step."""
        if not self.path.is_file():
            return {}
        try:
            return {row.step: row for row in from_json(read_json(self.path, "measurement")).rows}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, CheckpointError):
            return {}

    def take(self, model: Any, step: int, share: float) -> None:
        """Measure a model after a step, unless its row is there."""
        rows = self.kept()
        if step in rows:
            return
        training = model.training
        model.eval()
        try:
            bare = self._replies(model, self.seen, documents=False)
            figures = {
                SEEN_BARE: _right(self.seen, bare),
                SEEN_DOCUMENTS: _right(self.seen, self._replies(model, self.seen, documents=True)),
                INVENTED: Share(sum(self._invents(reply) for reply in bare), len(bare)),
            }
            if self.unseen:
                figures[UNSEEN_DOCUMENTS] = _right(self.unseen, self._replies(model, self.unseen, documents=True))
        finally:
            model.train(training)
        rows[step] = Row(step, share, figures)
        ordered = tuple(rows[number] for number in sorted(rows))
        write_json(self.path, Internalised(ordered, self._costs(model), self.seed).to_json())

    def result(self) -> Internalised:
        """Return all rows, with the costs."""
        return from_json(read_json(self.path, "measurement"))

    def _invents(self, reply: str) -> bool:
        return any(call.name not in self.known for call in _calls(reply))

    def _encoded(self, item: Item, documents: bool) -> tuple[list[int], list[int]]:
        messages = [{"role": "user", "content": item.question}, {"role": "function", "content": item.answer}]
        tools = item.tools if documents else None
        prompt, answer = self.template.encode_oneturn(self.tokenizer, messages, None, tools)
        return list(prompt), list(answer)

    def _costs(self, model: Any) -> dict[str, CallCost]:
        size = ModelSize.of(model.config.to_dict())
        costs = {}
        for name in ("documents", "bare"):
            lengths = [tuple(map(len, self._encoded(item, name == "documents"))) for item in self.seen]
            costs[name] = CallCost(
                *(
                    sum(values) / len(lengths)
                    for values in (
                        [prompt for prompt, _ in lengths],
                        [answer for _, answer in lengths],
                        [cache_bytes(size, *pair) for pair in lengths],
                        [generation_flops(size, *pair) for pair in lengths],
                    )
                )
            )
        return costs

    def _replies(self, model: Any, items: Sequence[Item], *, documents: bool) -> list[str]:
        """Return greedy replies, in batches of prompts of similar length, padded on the left."""
        encoded = [self._encoded(item, documents) for item in items]
        longest = max(len(answer) for _, answer in encoded) + _SPARE
        replies = [""] * len(items)
        for chosen in _batches([len(prompt) for prompt, _ in encoded]):
            width = max(len(encoded[index][0]) for index in chosen)
            pad = self.tokenizer.pad_token_id
            ids_BT = torch.full((len(chosen), width), pad)
            mask_BT = torch.zeros_like(ids_BT)
            for row, index in enumerate(chosen):
                prompt = encoded[index][0]
                ids_BT[row, width - len(prompt) :] = torch.tensor(prompt)
                mask_BT[row, width - len(prompt) :] = 1
            with torch.no_grad():
                out_BT = model.generate(
                    input_ids=ids_BT.to(model.device),
                    attention_mask=mask_BT.to(model.device),
                    max_new_tokens=longest,
                    do_sample=False,
                    eos_token_id=self.template.get_stop_token_ids(self.tokenizer),
                    pad_token_id=pad,
                )
            texts = self.tokenizer.batch_decode(out_BT[:, width:], skip_special_tokens=True)
            for index, text in zip(chosen, texts, strict=True):
                replies[index] = text
        return replies


def _right(items: Sequence[Item], replies: Sequence[str]) -> Share:
    return Share(sum(is_right(item, reply) for item, reply in zip(items, replies, strict=True)), len(items))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]
