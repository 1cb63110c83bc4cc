"""`llamafactory-cli train` with `finetuning_type: citi`: importance, selection, the phases, the report.

What it does: wiring only. Every step leaves a complete file behind, and the same command goes on from the newest one.
"""

from __future__ import annotations

import copy
import datetime as calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel
from torch import nn
from transformers import set_seed

from ...checkpoint.atomic import write_json
from ...checkpoint.base import quantization
from ...data.marks import TASK_COLUMN
from ...families import standing
from ...tl.sft.workflow import report_findings
from ...tl.start import start_facts
from ...training.engines import Engine, engine_of, renew_engine, whole_weights
from ...training.parameters import RAISED, total_size
from ...training.phases_run import PhasedRun
from ...training.processes import by_main, from_main
from ...training.same_data import check_same_base, check_same_data, content_hash
from ...training.stopping import Stop
from ...training.stopwatch import lap, laps
from ...upstream.pipeline.api import accuracy_of, calculate_tps, plot_evaluated, plot_loss
from ...upstream.pipeline.dates import day_of, today
from ...upstream.pipeline.manifest import make_manifest
from ...upstream.pipeline.session import begun
from ..card import SELECTION
from ..importance import linear_components
from ..importance_file import Importance
from ..phases import Phase, describe, phase_table, set_trainable, undecided_routers
from ..scoring import group_by_task, sample_rows
from ..selection import Selection, selected_counts
from .adapters import adapt, check_tunable, choose, describe_experts, describe_selection, ratios, watch_routers
from .early import check_export
from .folder import RunFolder
from .going_on import how_to_go_on
from .inputs import Preparation, logger, say
from .outputs import Notes, write_outputs
from .plan import make_plan
from .ranking import computed_importance, loaded_importance
from .report import Report, as_table, make_report
from .steering import ROUTERS_ALONE, steered
from .trainer import CitiTrainer


def run_citi(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: Sequence[Any] | None = None,
) -> None:
    """Run or resume a whole CITI training (arXiv:2409.13202, section 3.3); the arguments are upstream's groups.

    Raises:
        ExtError: options, data or an earlier run in the folder do not fit; nothing was written.
    """
    folder = RunFolder(Path(training_args.output_dir), phase_table(finetuning_args))
    inputs = Preparation(model_args, data_args, training_args, finetuning_args)
    with begun(inputs, partial(how_to_go_on, training_args, folder), logger.warning) as stop:
        _Citi(inputs, list(callbacks or []), stop).run()


@dataclass
class _Citi(PhasedRun):
    """One run; its parts are made when they are first needed."""

    BESIDE: ClassVar[tuple[str, ...]] = (SELECTION,)
    inputs: Preparation
    callbacks: list[Any]
    stop: Stop

    def run(self) -> None:
        plan = make_plan(self.model_args, self.data_args, self.training_args, self.finetuning_args)
        if not self.training_args.overwrite_output_dir:
            self.folder.check(plan)
        self.inputs.day = from_main(self._first_day() or today())
        self.inputs.check_data()
        base = self.inputs.load_base(whole=not self.finetuning_args.citi_importance_load)
        check_tunable(base, self.folder.phases)
        check_export(base, self.finetuning_args)
        notes = Notes(standing(base.config.to_dict()), describe_experts(base))
        selected_counts(len(linear_components(base)), *ratios(self.finetuning_args, self.folder.phases))
        loaded = loaded_importance(self.inputs, base)
        data = content_hash(self.inputs.data["train_dataset"])
        check_same_data({"training": data, "evaluation": self.inputs.data.get("eval_dataset")})
        check_same_base(base, self.training_args)
        if not self.training_args.overwrite_output_dir:
            self.folder.check_inputs(base, data)
        with self.training_args.main_process_first(desc="start the run", local=False):
            if self.training_args.should_save:
                day = day_of(self.inputs.template)
                manifest = make_manifest(plan, base, self.model_args, data, self.folder.phases, day)
                self.folder.start(manifest, overwrite=self.training_args.overwrite_output_dir)
        for line in self.inputs.served.lines():
            say(line)
        if self.inputs.weighs is not None:
            skip = self.finetuning_args.tl_skip_bad
            facts = start_facts(self.inputs.template, self.data_args.template, self.inputs.served.to_dict())
            report_findings(self.inputs.findings, self.inputs.weighs, self.training_args, skip=skip, facts=facts)
        self.inputs.report_data(self.folder.path)
        if notes.experts:
            say(notes.experts)
        importance = loaded or computed_importance(self.inputs, base, self.folder.path / "importance.json")
        selection = self._select(importance)
        self.selection = selection
        model = None if self.engine else self.restored(self._adapt(base, selection))
        del base
        self.run_phases(model)
        report = self._report(selection, model)
        if self.training_args.should_save:
            served = self.inputs.served.to_dict()
            write_outputs(self.folder, importance, selection, report, self.training_args.report_to, notes, served)
        if self.training_args.should_save:
            self.folder.finish()
            say(f"Finished: the adapter is in {self.folder.path}.")

    def _first_day(self) -> calendar.date | None:
        """Return the day on which the run began that this one goes on with."""
        return None if self.training_args.overwrite_output_dir else self.folder.day()

    # Options

    @property
    def model_args(self) -> Any:
        return self.inputs.model_args

    @property
    def data_args(self) -> Any:
        return self.inputs.data_args

    @property
    def training_args(self) -> Any:
        return self.inputs.training_args

    @property
    def finetuning_args(self) -> Any:
        return self.inputs.finetuning_args

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.training_args.output_dir), phase_table(self.finetuning_args))

    @cached_property
    def engine(self) -> Engine | None:
        return engine_of(self.training_args)

    # Phases

    def _select(self, importance: Importance) -> Selection:
        args, phases = self.finetuning_args, self.folder.phases
        selection = choose(importance, args, phases, self.training_args.seed)
        by_main(lambda: self.folder.check_selection(selection))
        if self.training_args.should_save:
            importance.save(self.folder.path / "importance.json")
            write_json(self.folder.path / SELECTION, selection.to_dict())
        say(describe_selection(selection, args))
        for remark in importance.remarks(*ratios(args, phases), end=args.citi_select):
            say(remark)
        return selection

    def _adapt(self, base: nn.Module, selection: Selection) -> PeftModel:
        """Return the base with fresh adapters and copies of the tuned linears, in a number type that trains."""
        kept = self.training_args.bf16 or self.training_args.fp16 or quantization(base)
        if not kept and next(base.parameters()).dtype in (torch.float16, torch.bfloat16):
            say(RAISED)
            base.float()
        set_seed(self.training_args.seed)
        model = adapt(base, selection, self.finetuning_args, self.model_args.model_name_or_path)
        self.router = watch_routers(model, self.finetuning_args, compiled=self.training_args.torch_compile)
        return model

    def say(self, text: str) -> None:
        say(text)

    def fresh_model(self) -> PeftModel:
        return self._adapt(self.inputs.load_base(), self.selection)

    def begin(self, model: PeftModel, phase: Phase) -> Mapping[str, Sequence[int]]:
        moving = set_trainable(model, phase)
        say(describe(phase, moving, total_size(model.parameters())))
        return {str(group): counts for group, counts in moving.items()}

    def rest(self) -> None:
        if self.router is not None:
            self.router.end()

    def measured(self, trainer: CitiTrainer, metrics: dict[str, Any]) -> None:
        if self.finetuning_args.include_effective_tokens_per_second:
            rate = calculate_tps(trainer.train_dataset, metrics, stage="sft")
            metrics["effective_tokens_per_sec"] = rate
        if trainer.phase.name == ROUTERS_ALONE and (
            undecided := undecided_routers(trainer.state.log_history, self.finetuning_args.citi_router_scope)
        ):
            say(undecided)

    def draw(self, trainer: CitiTrainer, staged: Path) -> None:
        if self.finetuning_args.plot_loss:
            evaluated = plot_evaluated(self.training_args, self.finetuning_args, trainer.eval_dataset)
            plot_loss(str(staged), ["loss", "loss_router", *evaluated], shown=str(staged.parent))

    def make_trainer(self, model: PeftModel, phase: Phase) -> CitiTrainer:
        args = self.arguments_of(phase)
        finetuning_args = copy.copy(self.finetuning_args)
        if "experts" not in phase.trains and "lora" not in phase.trains:
            finetuning_args.loraplus_lr_ratio = None
        callbacks = steered(args, [*self.callbacks, self.stop.callback], by_evaluation=phase.name != ROUTERS_ALONE)
        renew_engine(args)
        return CitiTrainer(
            phase=phase,
            router=self.router if self.finetuning_args.citi_router_neutral else None,
            recompute=not self.model_args.use_unsloth_gc,
            weighted=self.inputs.weighs is not None,
            exact_step=self.finetuning_args.citi_router_window == "step" and self.finetuning_args.citi_router_beta > 0,
            model=model,
            args=args,
            finetuning_args=finetuning_args,
            data_collator=self.inputs.collator(model, packed=bool(self.data_args.packing)),
            callbacks=callbacks,
            **accuracy_of(finetuning_args),
            train_dataset=self.inputs.data["train_dataset"],
            eval_dataset=self.inputs.data.get("eval_dataset"),
            **self.inputs.tokenizers,
        )

    # Report

    def _report(self, selection: Selection, model: PeftModel | None) -> Report | None:
        count = self.finetuning_args.citi_report_samples
        if not count:
            return None
        if model is None and self.finetuning_args.citi_importance_load:
            say(
                "No report: with citi_importance_load and weights spread over processes, the model need not fit into "
                "one process. Evaluate the finished adapter with do_predict."
            )
            return None
        if model is None:
            with whole_weights(self.training_args):
                model = self.restored(self._adapt(self.inputs.load_base(whole=True), selection))
        held_out = self.inputs.examples.get("eval_dataset")
        usable = held_out is not None and not isinstance(held_out, dict) and TASK_COLUMN in held_out.column_names
        dataset = held_out if usable else self.inputs.examples["train_dataset"]
        groups = group_by_task(dataset, both=False)
        seed = self.training_args.seed
        laps.count("report", count, [len(rows) for _, rows in groups.values()])
        with lap("report"):
            report = make_report(
                model,
                self.router,
                dataset,
                {task: (mark, sample_rows(rows, count, seed)) for task, (mark, rows) in groups.items()},
                self.inputs.collator(model, packed=False),
                source="held-out examples" if usable else "training examples",
                batch_size=self.training_args.per_device_eval_batch_size,
                autocast=self._autocast,
            )
        if self.training_args.should_log:
            print(as_table(report))
        return report

    def _autocast(self) -> Any:
        dtype = torch.bfloat16 if self.training_args.bf16 else torch.float16
        enabled = self.training_args.bf16 or self.training_args.fp16
        return torch.autocast(self.training_args.device.type, dtype=dtype, enabled=enabled)
