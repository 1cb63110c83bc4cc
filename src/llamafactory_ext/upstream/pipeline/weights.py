"""Makes loss weights of tokens in LLaMA-Factory's data pipeline, and counts what becomes of its examples.

Weights are made only where the run asks for them (`requests.request_weights`). Examples that cannot be used leave a
note in place of themselves: every batch of rows ends with one note row, which `take_notes` takes out again.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

from datasets import IterableDataset
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor
from transformers.utils import logging as transformers_logging

from ...data.intake import CUT_DROPPED, DROP, Cut, Intake
from ...data.marks import TASK_COLUMN
from ...errors import DataError
from ...sources import source_hash
from ...toolcalls.readings import Readings
from ...training.channels import channels_asked
from ...training.findings import Findings
from ...training.losses import IGNORE_INDEX
from ...training.same_data import RowHash
from ...training.weighing import NOT_RENDERED, UNREADABLE, Judged, Weigher
from .channels import Carrying, CarryingPackedProcessor, CarryingProcessor, rebuilt
from .pieces import Pieces
from .requests import marks_requested, requested_action, requested_weights
from .tagging import TaggedExample, declared_tools, encode_tagged

NOTE_COLUMN = "tl_note"
_SHOWN = 2_000  # characters of an example in the log


@contextmanager
def _without_collection() -> Iterator[None]:
    """Leave cycles alone for one batch: what is made in it stays to its end, and is looked at again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass
class _Encoding:
    """Innermost: hands out what `_Reading` has encoded."""

    if TYPE_CHECKING:
        _encoded: dict[int, TaggedExample]

    source: str = field(default_factory=source_hash)  # by which upstream's cache knows what was preprocessed

    def _encode_data_example(self, prompt: Any, **_: Any) -> tuple[list[int], list[int]]:
        tagged = self._encoded[id(prompt[0])]
        return tagged.ids, tagged.labels


class _Reading:
    """Outermost: judges and encodes every example, and leaves out unusable ones."""

    if TYPE_CHECKING:
        data_args: Any
        template: Any
        tokenizer: Any

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        with _without_collection():
            return self._prepared(examples)

    def _prepared(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        settings, found = requested_weights(self.data_args), Findings()
        self._encoded: dict[int, TaggedExample] = {}
        pieces = Pieces(self.tokenizer)
        examples = {name: list(values) for name, values in examples.items()}
        rows = [{name: values[i] for name, values in examples.items()} for i in range(len(examples["_prompt"]))]
        kept = [i for i, row in enumerate(rows) if self._take(row, settings, found, pieces)]
        inputs = super().preprocess_dataset(  # type: ignore[misc]
            {name: [values[i] for i in kept] for name, values in examples.items()}
        )
        del self._encoded
        inputs[NOTE_COLUMN] = [""] * len(inputs["labels"])
        for name, value in self._note_row(found.to_text(settings, requested_action(self.data_args))).items():
            inputs[name] = [*inputs.get(name, []), value]
        return dict(inputs)

    def _weights_of(self, prompt: Any) -> list[int] | None:
        return self._encoded[id(prompt[0])].codes

    def print_data_example(self, example: dict[str, Any]) -> None:
        """Show one example as text; its token ids too where everything is logged."""
        if transformers_logging.get_verbosity() <= transformers_logging.INFO:
            super().print_data_example(example)  # type: ignore[misc]
            return
        learned = [label for label in example["labels"] if label != IGNORE_INDEX]
        for heading, ids in (("", example["input_ids"]), ("learned of it:\n", learned)):
            text = self.tokenizer.decode(ids, skip_special_tokens=False)
            rest = f" ... ({len(text) - _SHOWN:,} more characters)" if len(text) > _SHOWN else ""
            print(f"{heading}{text[:_SHOWN]}{rest}")

    def _take(self, row: dict[str, Any], settings: Weigher | None, found: Findings, pieces: Pieces) -> bool:
        """Judge and encode one example; whether it is trained."""
        intake, place = found.intake, row.get("_place") or ""
        intake.read += 1
        if row.get("_skipped"):
            intake.leave_out(row["_skipped"], place)
            return False
        taken = take_example(self, row, settings, pieces)
        found.examples += 1
        if taken.problem is not None:
            found.note(
                taken.problem, f"{place}: {taken.shown}" if place and taken.problem == UNREADABLE else taken.shown
            )
            intake.leave_out(taken.problem, place)
            return False
        assert taken.tagged is not None
        for number, what in json.loads(lost) if (lost := row.get("_lost")) else ():
            intake.lost.note(what, f"{place}, turn {number}" if number else place)
        for misread in taken.tagged.misread:
            intake.misread.note(misread.what, misread.place(place))
        if not self._count_cut(row, taken, intake):
            return False
        found.count(taken.judged, taken.tagged.key_tokens)
        intake.silenced += len(taken.silent)
        intake.highest_id = max(intake.highest_id, max(taken.tagged.ids, default=-1))
        self._encoded[id(row["_prompt"][0])] = taken.tagged
        return True

    def _count_cut(self, row: dict[str, Any], taken: Taken, intake: Intake) -> bool:
        """Count what cutoff_len cuts of one example; whether it stays."""
        assert taken.tagged is not None
        roles = [turn["role"] for turn in (*row["_prompt"], *row["_response"])]
        calls = [
            place for place in taken.tagged.cut_places if roles[place] == "function" or place in taken.judged.calls
        ]
        is_cut = taken.tagged.whole > len(taken.tagged.ids)
        cut = Cut(1, is_cut, len(calls), len(taken.tagged.cut_places) - len(calls), taken.tagged.untrained)
        intake.cut.setdefault(row.get("_kind") or "all", Cut()).add(cut)
        if is_cut and requested_action(self.data_args) == DROP:
            intake.leave_out(CUT_DROPPED, row.get("_place") or "")
            return False
        return True

    def _note_row(self, note: str) -> dict[str, Any]:
        row: dict[str, Any] = {"input_ids": [0], "attention_mask": [0], "labels": [IGNORE_INDEX]}
        row |= {"images": None, "videos": None, "audios": None, NOTE_COLUMN: note}
        row |= {channel.column: [0] for channel in channels_asked(self.data_args)}
        if self.data_args.packing:
            row["position_ids"] = [0]
            if self.data_args.neat_packing:
                lists = ("sequence_boundaries", "image_subseq_ids", "video_subseq_ids", "audio_subseq_ids")
                row["packing_params"] = {**{name: [0] for name in lists}, "right_padding_length": 0}
        if marks_requested(self.data_args) and not self.data_args.packing:
            row[TASK_COLUMN] = ""
        return row


@dataclass(frozen=True)
class Taken:
    """What becomes of one example: tokens, or why it has none.

    Attributes:
        silent: turns that the record itself leaves out of the loss.
        why: what the template stumbled on, if it did.
        shown: the example in a few words, if it cannot be used.
    """

    tagged: TaggedExample | None
    judged: Judged
    silent: frozenset[int]
    problem: str | None = None
    why: str = ""
    shown: str = ""


def take_example(processor: Any, row: dict[str, Any], settings: Weigher | None, pieces: Pieces | None = None) -> Taken:
    """Judge and encode one aligned example, as training does and `data preview` shows.

    Args:
        processor: upstream's supervised processor, or one of ours.
        row: the columns of the example.
        settings: what weights are asked for; None for none.
        pieces: encodes texts for several examples; None for this one alone.
    """
    if row.get("_fault"):
        return Taken(None, Judged(), frozenset(), UNREADABLE, shown=row["_fault"])
    turns = [*row["_prompt"], *row["_response"]]
    silent = frozenset(int(place) for place in (row.get("_silent") or "").split(",") if place)
    judged, read = Judged(), Readings()
    if settings is not None:
        judged = settings.judge(turns, declared_tools(row["_tools"]), row["_system"] or "", read)
    problem, why = judged.problem, ""
    if problem is None:
        try:
            return Taken(encode_tagged(processor, row, silent, judged, settings, pieces, read), judged, silent)
        except Exception as error:  # upstream's formatters raise whatever the data makes them stumble on
            problem, why = NOT_RENDERED, f"{type(error).__name__}: {error}".splitlines()[0]
    shown = (f"{why[:80]}: " if why else "") + " | ".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    return Taken(None, judged, silent, problem, why, shown)


@dataclass
class WeighedProcessor(_Reading, Carrying, _Encoding, SupervisedDatasetProcessor):  # type: ignore[misc]
    """Upstream's supervised processor with channels and notes."""


@dataclass
class WeighedPackedProcessor(_Reading, Carrying, _Encoding, PackedSupervisedDatasetProcessor):  # type: ignore[misc]
    """Upstream's packing processor with channels and notes."""


def weighed_processor(get_dataset_processor: Any) -> Any:
    """Wrap the choice of processor, marks included, for runs that asked for weights or for counts."""

    @wraps(get_dataset_processor)
    def with_weights(data_args: Any, *args: Any, **kwargs: Any) -> Any:
        processor = get_dataset_processor(data_args, *args, **kwargs)
        weighed = {
            SupervisedDatasetProcessor: WeighedProcessor,
            PackedSupervisedDatasetProcessor: WeighedPackedProcessor,
            CarryingProcessor: WeighedProcessor,
            CarryingPackedProcessor: WeighedPackedProcessor,
        }.get(type(processor))
        if weighed is None or (requested_weights(data_args) is None and requested_action(data_args) is None):
            return processor
        return rebuilt(processor, weighed)

    return with_weights


def take_notes(dataset: Any, settings: Weigher | None, action: str | None = None) -> tuple[Any, Findings]:
    """Return a preprocessed data set without its note rows, and what they say.

    Args:
        dataset: as upstream's `get_dataset` gives it; of a stream all rows are made once for the findings.
        settings: of the weights that were asked for; None for none.
        action: what `request_records` was given; None without it.

    Raises:
        DataError: the data was preprocessed without weights or notes, or under other settings.
    """
    if isinstance(dataset, IterableDataset):
        return without_notes(dataset), findings_of(dataset, settings, action)
    if NOTE_COLUMN not in dataset.column_names:
        raise DataError(
            f"tokenized_path holds data that was made without {'counts' if settings is None else 'loss weights'}; "
            "delete that folder, or name another one, to have the data tokenized again"
        )
    notes = dataset[NOTE_COLUMN]
    findings = Findings.from_texts((note for note in notes if note), settings, action)
    rows = dataset.select([i for i, note in enumerate(notes) if not note])
    return rows.remove_columns(NOTE_COLUMN), findings


def without_notes(dataset: IterableDataset) -> IterableDataset:
    """Return a stream of preprocessed rows without its note rows."""
    return dataset.filter(_is_example).remove_columns(NOTE_COLUMN)


def findings_of(dataset: IterableDataset, settings: Weigher | None, action: str | None = None) -> Findings:
    """Return what the notes of a stream say, of which all rows are made once and none is kept; with a hash of them."""
    passed = RowHash()
    found = Findings.from_texts((row[NOTE_COLUMN] for row in passed.of(dataset) if row[NOTE_COLUMN]), settings, action)
    found.content = passed.text()
    return found


def _is_example(row: Mapping[str, Any]) -> bool:
    return not row[NOTE_COLUMN]
