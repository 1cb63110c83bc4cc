"""Carries loss weights of tokens through LLaMA-Factory's data pipeline: tokenising, packing, collating.

Weights are made only where the run asks for them (`marking.request_weights`). Examples that cannot be used leave a
note in place of themselves: every batch of rows ends with one note row, which `take_notes` takes out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor

from ...data.marks import MARKS_COLUMN, TASK_COLUMN
from ...errors import DataError
from ...sources import source_hash
from ...tl.sft.examples import NOT_RENDERED, Judged, Settings, judge_example
from ...tl.sft.findings import Findings
from ...tl.sft.tokens import TracingTokenizer, plain, target_weights
from ...toolcalls import Tool
from ...training.losses import IGNORE_INDEX
from ...training.token_weights import WEIGHTS_COLUMN, code_of, hidden_labels, reveal, reveal_batch
from .marks import MarkedCollator, MarkedPackedProcessor, MarkedSupervisedProcessor, Marking, rebuilt
from .requests import requested_weights
from .templates import call_format_of, read_tools

NOTE_COLUMN = "tl_note"
_SHIFT = 1 << 32  # above every vocabulary
_MASKED = 1  # a tag: 0 is none, 1 leaves the loss, 1 + code weighs


class _WeighingTemplate:
    """A template that tags the ids of its targets; everything else is the template's own."""

    def __init__(self, template: Any, judged: Judged, settings: Settings) -> None:
        self._template, self._judged, self._settings = template, judged, settings
        self._format = call_format_of(template)
        self.key_tokens = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def encode_multiturn(
        self, tokenizer: Any, messages: list[dict[str, str]], *args: Any, **options: Any
    ) -> list[tuple[list[int], list[int]]]:
        """Pairs of prompt and target, the target's ids tagged."""
        trace = TracingTokenizer(tokenizer) if self._settings.use_pkt else None
        pairs = self._template.encode_multiturn(trace or tokenizer, messages, *args, **options)
        tagged: list[tuple[list[int], list[int]]] = []
        for number, (traced, target) in enumerate(pairs):
            source = plain(traced)
            # Here the end of a target is the first token of the next prompt; it goes where its target goes.
            if self.efficient_eos and tagged and source and 2 * number - 1 in self._judged.errors:
                source[0] += _MASKED * _SHIFT
            place = 2 * number + 1
            tags = self._tags(place, target, trace, self._format if messages[place]["role"] == "function" else None)
            tagged.append((source, [token + tag * _SHIFT for token, tag in zip(plain(target), tags, strict=True)]))
        return tagged

    def _tags(
        self, place: int, target: Sequence[int], trace: TracingTokenizer | None, call_format: str | None
    ) -> list[int]:
        if place in self._judged.errors:
            return [_MASKED] * len(target)
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
            self.key_tokens += sum(weight > 1 for weight in weights)
        return [1 + code_of(weight) for weight in weights]


@dataclass
class _Encoding:
    """Innermost: hands out what `_Weighing` has encoded, with the weights hidden in the labels."""

    source: str = field(default_factory=source_hash)  # by which upstream's cache knows what was preprocessed

    def _encode_data_example(self, prompt: Any, **_: Any) -> tuple[list[int], list[int]]:
        encoded: dict[int, tuple[list[int], list[int]]] = self._encoded  # type: ignore[attr-defined]
        return encoded[id(prompt[0])]


class _Weighing:
    """Outermost: judges and encodes every example, drops unusable ones, and reads the weights back afterwards."""

    if TYPE_CHECKING:
        data_args: Any
        template: Any
        tokenizer: Any

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        settings, found = requested_weights(self.data_args), Findings()
        assert settings is not None
        self._encoded: dict[int, tuple[list[int], list[int]]] = {}
        examples = {name: list(values) for name, values in examples.items()}
        kept = [i for i in range(len(examples["_prompt"])) if self._take(examples, i, settings, found)]
        inputs = super().preprocess_dataset(  # type: ignore[misc]
            {name: [values[i] for i in kept] for name, values in examples.items()}
        )
        del self._encoded
        revealed = [reveal(labels) for labels in inputs["labels"]]
        inputs["labels"] = [labels for labels, _ in revealed]
        inputs[WEIGHTS_COLUMN] = [codes for _, codes in revealed]
        inputs[NOTE_COLUMN] = [""] * len(revealed)
        for name, value in self._note_row(found.to_text(settings)).items():
            inputs[name] = [*inputs.get(name, []), value]
        return dict(inputs)

    def _take(self, examples: dict[str, list[Any]], i: int, settings: Settings, found: Findings) -> bool:
        """Judge and encode one example; whether it can be used. Upstream drops invalid ones by itself."""
        prompt, response = examples["_prompt"][i], examples["_response"][i]
        if len(prompt) % 2 != 1 or len(response) != 1:
            return True
        turns = [*prompt, *response]
        found.examples += 1
        declared, system = declared_tools(examples["_tools"][i]), examples["_system"][i] or ""
        judged = judge_example(turns, declared, settings, system)
        problem, why = judged.problem, ""
        if problem is None:
            template = _WeighingTemplate(self.template, judged, settings)
            try:
                self._encoded[id(prompt[0])] = self._encode(template, examples, i)
            except Exception as error:  # upstream's formatters raise whatever the data makes them stumble on
                problem, why = NOT_RENDERED, f"{type(error).__name__}: {error}".splitlines()[0][:80] + ": "
        if problem is not None:
            found.note(problem, why + " | ".join(f"{turn['role']}: {turn['content']}" for turn in turns))
            return False
        found.with_calls += bool(judged.calls)
        found.calls += len(judged.calls)
        found.errors.update(judged.errors.values())
        found.key_tokens += template.key_tokens
        return True

    def _encode(
        self, template: _WeighingTemplate, examples: dict[str, list[Any]], i: int
    ) -> tuple[list[int], list[int]]:
        """Upstream's own encoding, cut and put together, with tags turned into hidden weights."""
        own, self.template = self.template, template
        try:
            ids, labels = SupervisedDatasetProcessor._encode_data_example(
                self,  # type: ignore[arg-type]
                prompt=examples["_prompt"][i],
                response=examples["_response"][i],
                system=examples["_system"][i],
                tools=examples["_tools"][i],
                images=examples["_images"][i] or [],
                videos=examples["_videos"][i] or [],
                audios=examples["_audios"][i] or [],
            )
        finally:
            self.template = own
        if own.efficient_eos and len(ids) > 1 and ids[-2] // _SHIFT == _MASKED:
            labels[-1] = IGNORE_INDEX
        return plain(ids), [_hidden(label, token // _SHIFT) for label, token in zip(labels, ids, strict=True)]

    def _note_row(self, note: str) -> dict[str, Any]:
        row: dict[str, Any] = {"input_ids": [0], "attention_mask": [0], "labels": [IGNORE_INDEX]}
        row |= {"images": None, "videos": None, "audios": None, WEIGHTS_COLUMN: [0], NOTE_COLUMN: note}
        if self.data_args.packing:
            row["position_ids"] = [0]
            if self.data_args.neat_packing:
                lists = ("sequence_boundaries", "image_subseq_ids", "video_subseq_ids", "audio_subseq_ids")
                row["packing_params"] = {**{name: [0] for name in lists}, "right_padding_length": 0}
        if isinstance(self, Marking):
            row[MARKS_COLUMN] = [0]
            if not self.data_args.packing:
                row[TASK_COLUMN] = ""
        return row


def _hidden(label: int, tag: int) -> int:
    """A label with its code instead of the tag of its token; an untagged trained token weighs 1."""
    if label == IGNORE_INDEX or tag == _MASKED:
        return IGNORE_INDEX
    return label % _SHIFT + (tag - 1 if tag else code_of(1.0)) * _SHIFT


def declared_tools(tools: str | None) -> list[Tool] | None:
    """The tools in a record's `tools` column; None if it cannot be read."""
    if tools is not None and not isinstance(tools, str):
        return None
    try:
        return read_tools(tools)
    except DataError:
        return None


@dataclass
class WeighedProcessor(_Weighing, _Encoding, SupervisedDatasetProcessor):
    """Upstream's supervised processor with weights."""


@dataclass
class WeighedPackedProcessor(_Weighing, _Encoding, PackedSupervisedDatasetProcessor):
    """Upstream's packing processor with weights."""


@dataclass
class WeighedMarkedProcessor(_Weighing, Marking, _Encoding, SupervisedDatasetProcessor):  # type: ignore[misc]
    """Upstream's supervised processor with weights and marks."""


@dataclass
class WeighedMarkedPackedProcessor(_Weighing, Marking, _Encoding, PackedSupervisedDatasetProcessor):  # type: ignore[misc]
    """Upstream's packing processor with weights and marks."""


def weighed_processor(get_dataset_processor: Any) -> Any:
    """Wraps the choice of processor, marks included, for runs that asked for weights."""

    @wraps(get_dataset_processor)
    def with_weights(data_args: Any, *args: Any, **kwargs: Any) -> Any:
        processor = get_dataset_processor(data_args, *args, **kwargs)
        weighed = {
            SupervisedDatasetProcessor: WeighedProcessor,
            PackedSupervisedDatasetProcessor: WeighedPackedProcessor,
            MarkedSupervisedProcessor: WeighedMarkedProcessor,
            MarkedPackedProcessor: WeighedMarkedPackedProcessor,
        }.get(type(processor))
        if weighed is None or requested_weights(data_args) is None:
            return processor
        return rebuilt(processor, weighed)

    return with_weights


def take_notes(dataset: Any, settings: Settings) -> tuple[Any, Findings]:
    """A preprocessed data set without its note rows, and what they say.

    Raises:
        DataError: the data was preprocessed without weights, or under other settings.
    """
    if NOTE_COLUMN not in dataset.column_names:
        raise DataError(
            "tokenized_path holds data that was made without loss weights; delete that folder, or name another one, "
            "to have the data tokenized again"
        )
    notes = dataset[NOTE_COLUMN]
    findings = Findings.from_texts((note for note in notes if note), settings)
    rows = dataset.select([i for i, note in enumerate(notes) if not note])
    return rows.remove_columns(NOTE_COLUMN), findings


class _WeightedBatches:
    """Mixin of collators: the weights go through upstream's padding and trimming hidden in the labels."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [dict(feature) for feature in features]
        for row in rows:
            row["labels"] = hidden_labels(row)
        batch: dict[str, torch.Tensor] = super().__call__(rows)  # type: ignore[misc]
        batch["labels"], batch[WEIGHTS_COLUMN] = reveal_batch(batch["labels"])
        return batch


@dataclass
class WeightedCollator(_WeightedBatches, SFTDataCollatorWith4DAttentionMask):
    """Upstream's collator; returns the codes of the weights as `tl_weights` (B, T)."""


@dataclass
class WeightedMarkedCollator(_WeightedBatches, MarkedCollator):
    """The collator of marks, with weights."""
