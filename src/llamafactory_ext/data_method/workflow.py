"""`llamafactory-cli train` with `finetuning_type: data`: one task, on a fresh adapter or on that of the tasks before.

What it does: wiring only. Checkpoints lie in output_dir; the same command goes on from the newest complete one. The
adapter's start is made anew from the options or from the task before, so no run takes its own checkpoint for it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from ..checkpoint.atomic import read_object, write_json
from ..checkpoint.base import MANIFEST
from ..checkpoint.folders import seal_adapter
from ..checkpoint.own import sha256
from ..checkpoint.plans import plain
from ..options.groups import option_names
from ..tl.intake_report import check_some_left
from ..tl.plan import check_plan_of_newest, plan_of, with_contents
from ..tl.session import DatedSession
from ..tl.sft.examples import Settings
from ..tl.sft.findings import Findings
from ..tl.sft.workflow import report_findings, report_intake, usable_settings, weighed_dataset
from ..tl.start import keep_start, start_facts
from ..training.parameters import RAISED
from ..training.same_data import check_same_base, check_same_data, content_hash
from ..training.stopping import Stop, how_to_resume
from ..training.token_weights import WEIGHTS_COLUMN
from ..upstream.pipeline.api import (
    SupervisedCollator,
    accuracy_of,
    get_dataset,
    get_logger,
    load_model,
    loading_data,
    plot_evaluated,
    plot_loss,
)
from ..upstream.pipeline.channels import CarryingCollator
from ..upstream.pipeline.fitting import untrained_rows
from ..upstream.pipeline.manifest import make_manifest
from ..upstream.pipeline.requests import request_records, request_weights
from ..upstream.pipeline.served import Served, check_served
from ..upstream.pipeline.session import begun
from .adapter import SHAPE, WEIGHTS, check_sequence, go_on, new_adapter
from .export import export_remark
from .options import DataMethodArguments
from .trainer import DEAF, DataTrainer, Restoration

logger = get_logger("llamafactory.data_method")  # below upstream's root logger, whose handlers print it
GATES = "gates.json"


def run_data(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: Sequence[Any] | None = None,
) -> None:
    """Train or go on training one task; the arguments are upstream's groups.

    Raises:
        ExtError: options, data or the adapter of the tasks before do not fit; nothing was trained.
    """
    folder = Path(training_args.output_dir)
    run = _Data(model_args, data_args, training_args, finetuning_args, list(callbacks or []))
    with begun(run, lambda: how_to_resume(training_args, folder), logger.warning) as run.stop:
        run.run()


def training_rows(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> Any:
    """Return the rows that a run would train on, and say what becomes of the records.

    Raises:
        ExtError: options or data do not fit.
    """
    return _Data(model_args, data_args, training_args, finetuning_args, [])._data()["train_dataset"]


@dataclass
class _Data(DatedSession):
    """One run; its parts are made when they are first needed."""

    callbacks: list[Any]
    stop: Stop = field(default_factory=Stop)
    findings: dict[str, Findings] = field(default_factory=dict)

    def run(self) -> None:
        args = self.training_args
        if self.before is not None:
            self._take_shape(check_sequence(self.before, self.finetuning_args))
        plan = self._plan()
        check_plan_of_newest(plan, args)
        data = self._data()
        base = self._base()
        check_same_base(base, args)
        if remark := export_remark(base.config.to_dict(), self.finetuning_args.data_gate):
            logger.warning_rank0(remark)
        content = content_hash(data["train_dataset"])
        plan = with_contents(plan, content, base, self._without_adapter, args)
        manifest = make_manifest(plan, base, self.model_args, content, ())
        model = self._adapted(base)
        trainer = self._trainer(model, data)
        trainer.plan = plan
        self._train(trainer)
        if args.should_save:
            self._finish(manifest, trainer)
        if args.do_eval:
            metrics = trainer.evaluate(metric_key_prefix="eval")
            trainer.log_metrics("eval", metrics)
            trainer.save_metrics("eval", metrics)

    # Options

    @cached_property
    def before(self) -> Path | None:
        """The adapter of the tasks before, if this is not the first."""
        paths = self.model_args.adapter_name_or_path or []
        return Path(paths[0]) if paths else None

    @cached_property
    def _without_adapter(self) -> Any:
        """The model's arguments as for the base alone: upstream would look for an adapter of its own kinds."""
        found = copy.copy(self.model_args)
        found.adapter_name_or_path = None
        return found

    def _take_shape(self, config: Mapping[str, Any]) -> None:
        for option, name in SHAPE.items():
            setattr(self.finetuning_args, option, config.get(name))

    def _plan(self) -> dict[str, Any]:
        plan = plan_of(self.model_args, self.data_args, self.training_args, self.finetuning_args)
        plan |= {name: plain(getattr(self.finetuning_args, name)) for name in option_names(DataMethodArguments)}
        plan["template"] = self.data_args.template
        before = None if self.before is None else sha256(self.before / WEIGHTS)
        return plan | {"adapter of the tasks before (hash)": before}

    # Data

    @cached_property
    def settings(self) -> Settings | None:
        """What tl_sft makes of the data, if the run is one."""
        if self.finetuning_args.tl_stage is None:
            return None
        return usable_settings(self.finetuning_args, self.tokenizers["tokenizer"])

    def _served(self) -> Served:
        if not self.training_args.should_save:
            return Served()
        tokenizer = self.tokenizers["tokenizer"]
        served = check_served(self.template, tokenizer, self.model_args, self.data_args, self.training_args)
        for line in served.lines():
            logger.warning_rank0(line)
        return served

    def _data(self) -> dict[str, Any]:
        args, action = self.training_args, self.finetuning_args.cutoff_action
        template = self.template  # it may replace the tokenizer's end token
        asked = request_records(self.data_args, action)
        if self.settings is not None:
            asked = request_weights(asked, self.settings)
        with loading_data():
            module = get_dataset(template, self.model_args, asked, args, stage="sft", **self.tokenizers)
        data, self.findings = weighed_dataset(module, self.settings, action)
        check_same_data(data)
        facts = start_facts(template, self.data_args.template, self._served().to_dict())
        if self.settings is not None:
            skip = self.finetuning_args.tl_skip_bad
            report_findings(self.findings, self.settings, args, skip=skip, facts=facts)
        elif args.should_save:
            keep_start(Path(args.output_dir), facts)
        report_intake(self.findings, self.model_args, self.data_args, args, self.finetuning_args)
        highest = max(found.intake.highest_id for found in self.findings.values())
        if remark := untrained_rows(highest, self.model_args, self.data_args.template, "data"):
            logger.warning_rank0(remark)
        intake = self.findings["train"].intake
        check_some_left("train", intake, len(data["train_dataset"]), self.data_args.cutoff_len)
        return data

    # Model

    def _base(self) -> Any:
        base = load_model(self.tokenizers["tokenizer"], self._without_adapter, self.finetuning_args, is_trainable=True)
        if not (self.training_args.bf16 or self.training_args.fp16) and next(base.parameters()).dtype.itemsize == 2:
            logger.info_rank0(RAISED)
            base.float()
        return base

    def _adapted(self, base: Any) -> Any:
        set_seed(self.training_args.seed)
        if self.before is None:
            name = self.model_args.model_name_or_path
            model = new_adapter(base, self.finetuning_args, name, self.training_args.seed)
        else:
            model = go_on(base, self.before, self.finetuning_args)
        tasks = model.peft_config["default"].tasks
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        logger.info_rank0(f"Task {len(tasks)}, {tasks[-1]}: {trained:,} of the model's parameters move.")
        return model

    def _trainer(self, model: Any, data: dict[str, Any]) -> DataTrainer:
        args, own = self.training_args, self.finetuning_args
        callbacks = [*self.callbacks, self.stop.callback]
        if own.data_restore_ratio > 0:
            task = len(model.peft_config["default"].tasks)
            rates = {"ratio": own.data_restore_ratio, "probability": own.data_restore_probability}
            callbacks.append(Restoration(model, seed=args.seed, task=task, **rates))
        weighed = partial(CarryingCollator, columns=(WEIGHTS_COLUMN,))
        kind = SupervisedCollator if self.settings is None else weighed
        collator = kind(
            template=self.template,
            model=model,
            pad_to_multiple_of=None if self.data_args.packing else 8,  # of one length, with positions
            label_pad_token_id=-100,
            block_diag_attn=self.model_args.block_diag_attn,
            neat_packing=self.data_args.neat_packing,
            attn_implementation=getattr(model.config, "_attn_implementation", None),
            compute_dtype=self._without_adapter.compute_dtype or torch.float32,
            **self.tokenizers,
        )
        return DataTrainer(
            ortho_weight=own.data_ortho_weight if own.data_gate != "none" else 0.0,
            recompute=not self.model_args.use_unsloth_gc,
            weighted=self.settings is not None,
            model=model,
            args=args,
            finetuning_args=own,
            data_collator=collator,
            callbacks=callbacks,
            **accuracy_of(own),
            **data,
            **self.tokenizers,
        )

    # Training

    def _train(self, trainer: DataTrainer) -> None:
        result = trainer.train(resume_from_checkpoint=trainer.checkpoint_to_resume(logger.info_rank0))
        self.stop.check(trainer.state)
        trainer.save_model()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        if trainer.is_world_process_zero() and self.finetuning_args.plot_loss:
            evaluated = plot_evaluated(self.training_args, self.finetuning_args, trainer.eval_dataset)
            plot_loss(self.training_args.output_dir, keys=["loss", "loss_ortho", *evaluated])
        self.stop.check()

    def _finish(self, manifest: dict[str, Any], trainer: DataTrainer) -> None:
        """Write where the adapter comes from, what its gates did, and the seal."""
        folder = Path(self.training_args.output_dir)
        sequence = []
        if self.before is not None and (self.before / MANIFEST).is_file():
            sequence = read_object(self.before / MANIFEST, "manifest").get("sequence", [])
        step = {"task": self.finetuning_args.data_task, "adapter": sha256(folder / WEIGHTS), "data": manifest["data"]}
        write_json(folder / MANIFEST, {**manifest, "sequence": [*sequence, step]})
        if gates := trainer.last_gates:
            write_json(folder / GATES, {f"layer {number}": facts for number, facts in gates.items()})
            if max(max(facts["sd"]) for facts in gates.values()) < DEAF:
                logger.warning_rank0(
                    f"The gates do not tell tokens apart: their deviation is below {DEAF} in all groups "
                    f"({folder / GATES})."
                )
        seal_adapter(folder)
        logger.info_rank0(f"Finished: the adapter is in {folder}.")
