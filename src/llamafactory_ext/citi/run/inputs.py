"""What a CITI run stands on: the base model and the tokenized data.

What it does: loads them through upstream, and says what is wrong with them. What it does not do: train
(`workflow.py`) or rank components (`ranking.py`).
"""

from __future__ import annotations

import contextlib
import datetime as calendar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...data.checks.check import check_datasets
from ...data.intake import DROP, Intake
from ...data.marks import MARKS_COLUMN
from ...errors import DataError
from ...tl.intake_report import check_intake, intake_lines, write_intake
from ...tl.sft.examples import Settings
from ...tl.sft.findings import Findings, check_usable
from ...tl.sft.workflow import usable_settings, weighed_dataset
from ...tl.stages import SFT_STAGE
from ...training.engines import start_communication, whole_weights
from ...training.token_weights import WEIGHTS_COLUMN
from ...upstream.pipeline.api import (
    get_dataset,
    get_logger,
    load_model,
    loading_data,
)
from ...upstream.pipeline.channels import CarryingCollator
from ...upstream.pipeline.dates import today, with_day
from ...upstream.pipeline.fitting import check_vocabulary, untrained_rows
from ...upstream.pipeline.requests import request_marks, request_records, request_weights
from ...upstream.pipeline.served import Served, check_served
from ...upstream.pipeline.session import Session
from ..scoring import check_trained, group_by_task

logger = get_logger("llamafactory.citi")  # below upstream's root logger, whose handlers print it


def say(text: str) -> None:
    """Write a line of the run's log, from the main process."""
    logger.info_rank0(text)


@dataclass
class Preparation(Session):
    """Base and data of one run, each made when it is first needed.

    Attributes:
        findings: what was found in the data read last, by the data set's name.
        day: what the template's tools say the day is, where they say one; today if None.
    """

    findings: dict[str, Findings] = field(default_factory=dict)
    day: calendar.date | None = None

    def dated(self, template: Any) -> Any:
        return with_day(template, self.day or today())

    @cached_property
    def served(self) -> Served:
        """How the chat template of the tokenizer prompts, beside what is trained; looked at by one process."""
        if not self.training_args.should_save:
            return Served()
        return check_served(self.template, self.tokenizer, self.model_args, self.data_args, self.training_args)

    @cached_property
    def data(self) -> dict[str, Any]:
        """Training and evaluation data with token marks, packed if the run packs; with weights in stage tl_sft."""
        return self._load(request_marks(self.data_args))

    @cached_property
    def weighs(self) -> Settings | None:
        """What tl_sft makes of the data, if the run is one."""
        if self.finetuning_args.tl_stage != SFT_STAGE:
            return None
        return usable_settings(self.finetuning_args, self.tokenizer)

    @cached_property
    def examples(self) -> dict[str, Any]:
        """The same data, one example per row."""
        if not self.data_args.packing:
            return self.data
        return self._load(request_marks(self.data_args, packing=False, neat_packing=False, tokenized_path=None))

    def load_base(self, *, whole: bool = False) -> Any:
        """Return the base model; `whole` on every process, or spread as the engine wants it."""
        start_communication(self.training_args)
        with whole_weights(self.training_args) if whole else contextlib.nullcontext():
            base = load_model(self.tokenizer, self.model_args, self.finetuning_args, is_trainable=True)
        for module in base.modules():
            # On some CPUs bitsandbytes repacks 4-bit weights in the first pass without gradients, for good, and then
            # lets no gradient through.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        return base

    def _load(self, data_args: Any) -> dict[str, Any]:
        template = self.template  # it may replace the tokenizer's end token
        action = self.finetuning_args.cutoff_action
        data_args = request_records(data_args, action)
        if self.weighs is not None:
            data_args = request_weights(data_args, self.weighs)
        groups = (self.model_args, data_args, self.training_args)
        with loading_data():
            module = get_dataset(template, *groups, stage="sft", **self.tokenizers)
        if MARKS_COLUMN not in module["train_dataset"].column_names:
            raise DataError(
                f"tokenized_path={data_args.tokenized_path} was made without marks; delete it, or name another "
                "folder, to have the data tokenized again."
            )
        module, self.findings = weighed_dataset(module, self.weighs, action)
        check_usable(self.findings, self.finetuning_args.tl_skip_bad, may_skip=self.weighs is not None)
        return module

    def check_data(self) -> None:
        """Have everything read that can be found wrong before a model is loaded.

        Raises:
            ExtError: the data cannot be used.
        """
        for warning in check_datasets(self.data_args.dataset or [], self.data_args.dataset_dir) or ():
            say(warning)
        examples, _ = self.examples["train_dataset"], self.data
        args = self.finetuning_args
        check_intake(self._intakes, self.data_args.cutoff_len, args.cutoff_action, args.record_check)
        check_trained(examples, group_by_task(examples, left=self._left()))
        highest = max(found.highest_id for found in self._intakes.values())
        check_vocabulary(highest, self.model_args, self.data_args.template)
        if remark := untrained_rows(highest, self.model_args, self.data_args.template, "citi"):
            logger.warning_rank0(remark)

    def _left(self) -> str:
        """Return what may have taken all examples of one kind out of data that holds both."""
        data, args = self.data_args, self.finetuning_args
        reasons = []
        if data.max_samples is not None:
            reasons.append(f"max_samples: {data.max_samples} takes the first records of each data set; raise it")
        if data.val_size > 0:
            reasons.append(f"val_size: {data.val_size:g} holds some back; lower it")
        if args.cutoff_action == DROP:
            reasons.append(f"cutoff_action: drop leaves out what cutoff_len: {data.cutoff_len} cuts; raise it")
        return ", or ".join(reasons)

    @property
    def _intakes(self) -> dict[str, Intake]:
        return {name: found.intake for name, found in self.findings.items()}

    def report_data(self, folder: Path) -> None:
        """Say what becomes of the records, and keep it in the run's folder."""
        for line in intake_lines(self._intakes, self.data_args.cutoff_len):
            say(line)
        if self.training_args.should_save:
            write_intake(self._intakes, self.data_args.cutoff_len, self.finetuning_args.cutoff_action, folder)

    def collator(self, model: nn.Module, *, packed: bool) -> CarryingCollator:
        """Make batches of `data`, or of `examples` if not `packed`, for training with weights if the run has any."""
        neat = packed and self.data_args.neat_packing
        weights = () if self.weighs is None else (WEIGHTS_COLUMN,)
        return CarryingCollator(
            columns=(MARKS_COLUMN, *weights),
            template=self.template,
            model=model,
            pad_to_multiple_of=None if packed and self.data_args.packing else 8,  # of one length, with positions
            label_pad_token_id=-100,
            block_diag_attn=packed and self.model_args.block_diag_attn,
            neat_packing=neat,
            attn_implementation=getattr(model.config, "_attn_implementation", None),
            compute_dtype=self.model_args.compute_dtype or torch.float32,
            **self.tokenizers,
        )
