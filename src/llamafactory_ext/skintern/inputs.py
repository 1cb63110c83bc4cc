"""Read what a run of SKIntern trains on: the data sets of every step, and what becomes of their records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..data.entries import DataEntry
from ..data.intake import Intake
from ..errors import DataError
from ..tl.intake_report import check_intake, check_some_left, intake_lines, write_intake
from ..training.phased import Phase
from ..upstream.pipeline.api import get_dataset, get_logger, load_tokenizer, loading_data
from ..upstream.pipeline.fitting import check_vocabulary, fit_template
from ..upstream.pipeline.requests import request_records
from ..upstream.pipeline.weights import take_notes
from .build import Settings, Steps, write_step
from .plan import SkinternFolder, settings_of, steps_of

PLAIN: Final = "_without_knowledge"  # behind the name of a data set that is trained on, for the evaluation
HELD_OUT: Final = "_held_out"  # behind the name of a data set: those of its records that val_size keeps apart
logger = get_logger("llamafactory.skintern")  # below upstream's root logger, whose handlers print it


@dataclass
class Inputs:
    """The data of one run, made when they are first needed; the arguments are upstream's groups."""

    model_args: Any
    data_args: Any
    training_args: Any
    finetuning_args: Any
    _data: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        return settings_of(self.finetuning_args, self.training_args.seed)

    @cached_property
    def folder(self) -> SkinternFolder:
        args = self.training_args
        phases = steps_of(self.finetuning_args, args.num_train_epochs, args.learning_rate)
        return SkinternFolder(Path(args.output_dir), phases)

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        return load_tokenizer(self.model_args)

    @cached_property
    def template(self) -> Any:
        return fit_template(self.tokenizers, self.data_args)

    @cached_property
    def sets(self) -> dict[str, Steps]:
        """The data sets of the run by name; those of the evaluation have no knowledge at any step."""
        tokenizer = self.tokenizers["tokenizer"]

        def count(text: str) -> int:
            return len(tokenizer.encode(text, add_special_tokens=False))

        plain = replace(self.settings, shares=(0.0,), keep_share=0.0, drop_share=0.0)
        room = self._room()
        trained, evaluated = self.data_args.dataset or [], self.data_args.eval_dataset or []
        folder = self.data_args.dataset_dir
        if not isinstance(folder, str):
            raise DataError("dataset_dir: name the folder of dataset_info.json.")
        held_out = self.data_args.val_size
        entries = {name: DataEntry.named(name, Path(folder)) for name in (*trained, *evaluated)}
        sets = {name: Steps(entries[name], self.settings, count, room, held_out) for name in trained}
        sets |= {self._evaluated(name): Steps(entries[name], plain, count, room) for name in evaluated}
        if held_out:
            sets |= {
                f"{name}{HELD_OUT}": Steps(entries[name], plain, count, room, held_out, evaluates=True)
                for name in trained
            }
        return sets

    def _evaluated(self, name: str) -> str:
        """Return the name under which data are evaluated; data that are trained on have knowledge under their own."""
        return f"{name}{PLAIN}" if name in (self.data_args.dataset or []) else name

    def _room(self) -> int:
        """Return the tokens that a prompt and its answer may take beside what the template writes around them."""
        empty = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
        prompt, answer = self.template.encode_oneturn(self.tokenizers["tokenizer"], empty)
        return max(1, self.data_args.cutoff_len - len(prompt) - len(answer))

    def digests(self) -> dict[str, str]:
        """Return the hash of every data set's records and settings."""
        return {name: steps.digest for name, steps in self.sets.items()}

    def report_records(self) -> None:
        """Say how many records have no knowledge."""
        for name, steps in self.sets.items():
            counts = steps.counts
            if counts.without_knowledge and any(steps.settings.shares):
                logger.warning_rank0(
                    f"{name}: {counts.without_knowledge:,} of {counts.records:,} records have no knowledge, such as "
                    f"{', '.join(counts.places)}."
                )

    def _build(self, phase: Phase) -> Path:
        """Return the folder of a step's data, which the first process writes."""
        step = list(self.folder.phases).index(phase)
        place = self.folder.folder(phase) / "data"
        with self.training_args.main_process_first(desc=f"build step {step + 1}", local=False):
            if self.training_args.should_save:
                write_step(self.sets, step, place)
        short = {name: list(steps.counts.shortened) for name, steps in self.sets.items() if steps.counts.shortened}
        for name, places in short.items():
            text = (
                f"{name}: the prompts of {len(places):,} records are longer than cutoff_len: "
                f"{self.data_args.cutoff_len}, such as {', '.join(places[:3])}"
            )
            if self.finetuning_args.skintern_overflow == "error":
                raise DataError(
                    f"{text} (skintern_overflow: error). Raise cutoff_len, or set skintern_overflow: shots."
                )
            logger.warning_rank0(f"{text}; they lose examples, then knowledge.")
        return place

    def data_of(self, phase: Phase) -> dict[str, Any]:
        """Return the data sets of a step; only those of one step are kept."""
        if phase.name not in self._data:
            self._data.clear()
            self._data[phase.name] = self.rows(self._build(phase))
        return self._data[phase.name]

    def rows(self, folder: Path) -> dict[str, Any]:
        """Return upstream's preprocessed data sets of a step's folder, and say what becomes of the records."""
        asked = request_records(self.data_args, self.finetuning_args.cutoff_action)
        asked.dataset_dir = str(folder)
        asked.eval_dataset = [self._evaluated(name) for name in asked.eval_dataset or []] or None
        if asked.val_size:
            asked.eval_dataset = [name for name in self.sets if name.endswith(HELD_OUT)]
            asked.val_size = 0.0
        with loading_data():
            module = get_dataset(
                self.template, self.model_args, asked, self.training_args, stage="sft", **self.tokenizers
            )
        taken: dict[str, Any] = {}
        intakes: dict[str, Intake] = {}
        action = self.finetuning_args.cutoff_action
        for key, dataset in module.items():
            name = key.removesuffix("_dataset")
            parts = dataset if isinstance(dataset, Mapping) else {"": dataset}
            found = {part: take_notes(rows, None, action) for part, rows in parts.items()}
            taken[key] = (
                {part: rows for part, (rows, _) in found.items()} if isinstance(dataset, Mapping) else found[""][0]
            )
            intakes |= {f"{name} {part}".strip(): findings.intake for part, (_, findings) in found.items()}
        lines = intake_lines(intakes, self.data_args.cutoff_len)
        for line in lines:
            logger.info_rank0(line)
        if self.training_args.should_save and folder.parent.parent == self.folder.path:
            write_intake(intakes, self.data_args.cutoff_len, action, folder.parent)
        check_intake(intakes, self.data_args.cutoff_len, action, self.finetuning_args.record_check)
        highest = max((found.highest_id for found in intakes.values()), default=-1)
        check_vocabulary(highest, self.model_args, self.data_args.template)
        check_some_left("train", intakes["train"], len(taken["train_dataset"]), self.data_args.cutoff_len)
        return taken
