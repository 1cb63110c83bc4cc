"""Read what a run of SKIntern trains on: the data sets of every step, and what becomes of their records."""

from __future__ import annotations

import copy
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
from ..upstream.pipeline.api import get_dataset, get_logger, loading_data
from ..upstream.pipeline.fitting import check_vocabulary
from ..upstream.pipeline.requests import request_records
from ..upstream.pipeline.session import Session
from ..upstream.pipeline.weights import take_notes
from .apart import same_questions, shown
from .budget import Budget, batch_of, budget_of, factor_of, told
from .build import Steps
from .measure import Measure, read_items
from .plan import SkinternFolder, chain_of, measured_sets, settings_of, steps_of
from .retrieval import find_documents
from .row_weights import weighed
from .sealed import APART, write_step
from .settings import ONE, Settings

PLAIN: Final = "_without_knowledge"  # behind the name of a data set that is trained on, for the evaluation
HELD_OUT: Final = "_held_out"  # behind the name of a data set: those of its records that val_size keeps apart
_WHOLE: Final = 1e-9
logger = get_logger("llamafactory.skintern")  # below upstream's root logger, whose handlers print it


@dataclass
class Inputs(Session):
    """The data of one run, made when they are first needed; the arguments are upstream's groups."""

    _data: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        return self._settings_of(self.finetuning_args)

    def _settings_of(self, args: Any) -> Settings:
        return settings_of(args, self.training_args.seed, self.model_args.model_name_or_path)

    @cached_property
    def folder(self) -> SkinternFolder:
        args = self.training_args
        phases = steps_of(self.finetuning_args, args.num_train_epochs * self._factor, args.learning_rate)
        return SkinternFolder(Path(args.output_dir), phases)

    @cached_property
    def _factor(self) -> float:
        """By what the epochs of a rival are multiplied, so that its budget is the chain's."""
        args = self.finetuning_args
        if self.training_args.max_steps > 0 or (self.settings.rows == ONE and args.skintern_budget == "steps"):
            return 1.0
        own, chain = (self.budget(one) for one in (args, chain_of(args)))
        epochs = self.training_args.num_train_epochs
        parts, others = ([phase.epochs for phase in steps_of(one, epochs, 0.0)] for one in (args, chain_of(args)))
        return factor_of(own, chain, parts, others, args.skintern_budget)

    def budget(self, args: Any) -> Budget:
        """Return what a pass over the training data takes under options of SKIntern."""
        tokenizer = self.tokenizer

        def count(text: str) -> int:
            return len(tokenizer.encode(text, add_special_tokens=False))

        trained = {name: self.sets[name] for name in self.data_args.dataset or []}
        return budget_of(trained, count, self._settings_of(args))

    def report_budget(self) -> None:
        """Say what the run takes, and beside a rival what the chain would take; warn of steps that end amid a pass."""
        args, training = self.finetuning_args, self.training_args
        if training.max_steps > 0:
            return
        parts = [phase.epochs for phase in self.folder.phases]
        logger.info_rank0(f"This run: {told(self.budget(args), parts, batch_of(training))}.")
        if args.skintern_baseline != "none":
            chain = chain_of(args)
            others = [phase.epochs for phase in steps_of(chain, training.num_train_epochs, 0.0)]
            logger.info_rank0(
                f"The chain of the same options: {told(self.budget(chain), others, batch_of(training))} "
                f"(equal {args.skintern_budget} were asked for)."
            )
        elif any(abs(part - round(part)) > _WHOLE for part in parts):
            epochs = ", ".join(f"{part:.4g}" for part in parts)
            logger.warning_rank0(
                f"num_train_epochs: {training.num_train_epochs:g} gives the steps {epochs} epochs, which are not "
                "whole: some records are seen more often than others. Set a multiple of the number of steps."
            )

    @cached_property
    def sets(self) -> dict[str, Steps]:
        """The data sets of the run by name; those of the evaluation have no knowledge at any step."""
        tokenizer = self.tokenizer

        def count(text: str) -> int:
            return len(tokenizer.encode(text, add_special_tokens=False))

        own = self.settings
        plain = replace(
            own,
            shares=(1.0,) if own.retrieved else (0.0,),
            keep_share=0.0,
            drop_share=0.0,
            rows=ONE,
            rationales=own.rationales and own.rows == ONE,
        )
        room = self._room()
        trained, evaluated = self.data_args.dataset or [], self.data_args.eval_dataset or []
        folder = self.data_args.dataset_dir
        if not isinstance(folder, str):
            raise DataError("dataset_dir: name the folder of dataset_info.json.")
        held_out = self.data_args.val_size
        entries = {name: DataEntry.named(name, Path(folder)) for name in (*trained, *evaluated)}
        searched = find_documents(path, Path(folder)) if (path := self.finetuning_args.skintern_documents) else None
        sets = {name: Steps(entries[name], own, count, room, held_out, documents=searched) for name in trained}
        known = searched or [one for steps in sets.values() for one in steps.documents or ()]
        sets |= {
            self._evaluated(name): Steps(entries[name], plain, count, room, documents=known) for name in evaluated
        }
        if held_out:
            sets |= {
                f"{name}{HELD_OUT}": Steps(
                    entries[name], plain, count, room, held_out, evaluates=True, documents=known
                )
                for name in trained
            }
        return sets

    def _evaluated(self, name: str) -> str:
        """Return the name under which data are evaluated; data that are trained on have knowledge under their own."""
        return f"{name}{PLAIN}" if name in (self.data_args.dataset or []) else name

    def _room(self) -> int:
        """Return the tokens that a prompt and its answer may take beside what the template writes around them."""
        empty = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
        prompt, answer = self.template.encode_oneturn(self.tokenizer, empty)
        return max(1, self.data_args.cutoff_len - len(prompt) - len(answer))

    @cached_property
    def measure(self) -> Measure | None:
        """What measures tool calls as training goes; None where it is not asked for."""
        names = measured_sets(self.finetuning_args)
        if not names:
            return None
        folder = self.data_args.dataset_dir
        if not isinstance(folder, str):
            raise DataError("dataset_dir: name the folder of dataset_info.json.")
        seen, *unseen = (read_items(name, Path(folder)) for name in names)
        tokenizer = self.tokenizer
        return Measure(
            self.folder.path, tokenizer, self.template, seen, unseen[0] if unseen else [], self.training_args.seed
        )

    def digests(self) -> dict[str, str]:
        """Return the hash of every data set's records and settings."""
        return {name: steps.digest for name, steps in self.sets.items()}

    def report_records(self) -> None:
        """Say how many records have no knowledge, and which ask what an item of the evaluation asks."""
        for name, steps in self.sets.items():
            counts = steps.counts
            if counts.without_knowledge and any(steps.settings.shares):
                logger.warning_rank0(
                    f"{name}: {counts.without_knowledge:,} of {counts.records:,} records have no knowledge, such as "
                    f"{', '.join(counts.places)}."
                )

        trained = [record for name in self.data_args.dataset or [] for record in self.sets[name].records]
        for name in self.data_args.eval_dataset or []:
            if name not in (self.data_args.dataset or []):
                steps = self.sets[self._evaluated(name)]
                if same := same_questions(trained, steps.records):
                    logger.warning_rank0(
                        f"{name}: {len(same):,} records that are trained on ask what an item of it asks, such as "
                        f"{shown(same)}. Its loss says little; remove them from the training data."
                    )

    def _build(self, phase: Phase) -> Path:
        """Return the folder of a step's data, which the first process writes."""
        step = list(self.folder.phases).index(phase)
        place = self.folder.folder(phase) / "data"
        with self.training_args.main_process_first(desc=f"build step {step + 1}", local=False):
            if self.training_args.should_save:
                write_step(self.sets, step, place, self._check_lengths)
        return place

    def _check_lengths(self) -> None:
        """Say which prompts were too long.

        Raises:
            DataError: some were, and are to be an error.
        """
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
        taken, intakes = self._taken(asked)
        if self.settings.rows != ONE:
            asked = copy.copy(asked)
            asked.dataset, asked.eval_dataset = [f"{name}{APART}" for name in self.data_args.dataset], None
            apart, counted = self._taken(asked)
            intakes["rationales"] = counted["train"]
            taken = weighed(taken, apart["train_dataset"])
        action = self.finetuning_args.cutoff_action
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

    def _taken(self, asked: Any) -> tuple[dict[str, Any], dict[str, Intake]]:
        """Return what upstream makes of the data sets that are asked for, and what became of their records."""
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
        return taken, intakes
