"""`llamafactory-cli train` with `finetuning_type: citi`: importance, selection, the phases, the report.

What it does: wiring only. Every step leaves a complete file behind, and the same command goes on from the newest one.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import load_peft_weights, set_peft_model_state_dict
from torch import nn
from transformers import set_seed

from ..checkpoint.atomic import read_json, write_json
from ..checkpoint.base import MANIFEST, fingerprint
from ..checkpoint.card import SELECTION
from ..data.check import check_datasets
from ..data.marks import MARKS_COLUMN, TASK_COLUMN
from ..errors import DataError
from ..upstream.citi_arguments import CitiArguments
from ..upstream.data import MarkedCollator
from ..upstream.groups import option_names
from ..upstream.marking import request_marks
from ..upstream.training import (
    get_dataset,
    get_logger,
    get_template_and_fix_tokenizer,
    load_model,
    load_tokenizer,
    plot_loss,
)
from .adapting import adapt, choose, describe_selection, ratios, watch_routers
from .engines import Engine, engine_of, renew_engine, start_communication, whole_weights
from .importance import linear_components
from .importance_file import Importance
from .outputs import write_outputs
from .phases import Phase, describe, phase_table, set_trainable, total_size
from .report import Report, as_table, make_report
from .run import RunFolder
from .scoring import (
    check_trained,
    compute_importance,
    content_hash,
    fits_float32,
    group_by_task,
    sample_rows,
    scoring_mode,
    shapes_of,
)
from .selection import Selection, selected_counts
from .trainer import CitiTrainer

logger = get_logger("llamafactory.citi")  # below upstream's root logger, whose handlers print it

NOT_IN_PLAN = ("citi_report_samples", "citi_importance_save")
DATA_OPTIONS = (
    "dataset",
    "dataset_dir",
    "template",
    "cutoff_len",
    "packing",
    "neat_packing",
    "train_on_prompt",
    "mask_history",
    "mix_strategy",
    "interleave_probs",
    "max_samples",
    "val_size",
)
TRAINING_OPTIONS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "max_steps",
    "seed",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "bf16",
    "fp16",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "warmup_ratio",
    "lr_scheduler_kwargs",
    "neftune_noise_alpha",
    "label_smoothing_factor",
)


def run_citi(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: Sequence[Any] | None = None,
) -> None:
    """Runs or resumes a whole CITI training (arXiv:2409.13202, section 3.3); the arguments are upstream's groups.

    Raises:
        ExtError: options, data or an earlier run in the folder do not fit; nothing was written.
    """
    _Citi(model_args, data_args, training_args, finetuning_args, list(callbacks or [])).run()


def make_plan(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> dict[str, Any]:
    """Everything that shapes the outcome: an interrupted run goes on only under the same plan."""
    plan = {"model_name_or_path": model_args.model_name_or_path}
    plan |= {name: getattr(finetuning_args, name) for name in option_names(CitiArguments) if name not in NOT_IN_PLAN}
    plan["loraplus_lr_ratio"] = finetuning_args.loraplus_lr_ratio
    plan |= {name: getattr(data_args, name) for name in DATA_OPTIONS}
    plan |= {name: getattr(training_args, name) for name in TRAINING_OPTIONS}
    return {name: str(value) if not isinstance(value, _JSON) else value for name, value in plan.items()}


_JSON = (str, int, float, bool, list, type(None))


@dataclass
class _Citi:
    """One run; its parts are made when they are first needed."""

    model_args: Any
    data_args: Any
    training_args: Any
    finetuning_args: Any
    callbacks: list[Any]

    def run(self) -> None:
        plan = make_plan(self.model_args, self.data_args, self.training_args, self.finetuning_args)
        if not self.training_args.overwrite_output_dir:
            self.folder.check(plan)
        self._check_data()
        base = self._load_base(whole=not self.finetuning_args.citi_importance_load)
        selected_counts(len(linear_components(base)), *ratios(self.finetuning_args, self.folder.phases))
        loaded = self._load_importance(base)
        data = content_hash(self.data["train_dataset"])
        if not self.training_args.overwrite_output_dir:
            self.folder.check_inputs(base, data)
        with self.training_args.main_process_first(desc="start the run", local=False):
            if self.training_args.should_save:
                manifest = {
                    "plan": plan,
                    "base": self._describe_base(base),
                    "data": data,
                    "phases": [
                        {"name": phase.name, "title": phase.title, "epochs": phase.epochs, "lr": phase.lr}
                        for phase in self.folder.phases
                    ],
                    "versions": _versions(),
                }
                self.folder.start(manifest, overwrite=self.training_args.overwrite_output_dir)
        importance = loaded or self._compute_importance(base)
        selection = self._select(importance)
        model = None if self.engine else self._model(selection, base)
        del base
        self._train(selection, model)
        report = self._report(selection, model)
        if self.training_args.should_save:
            write_outputs(self.folder, importance, selection, report, self.training_args.report_to)
        if self.training_args.should_save:
            self.folder.finish()
            self._say(f"Finished: the adapter is in {self.folder.path}.")

    # What the run stands on

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.training_args.output_dir), phase_table(self.finetuning_args))

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        return load_tokenizer(self.model_args)

    @property
    def tokenizer(self) -> Any:
        return self.tokenizers["tokenizer"]

    @cached_property
    def template(self) -> Any:
        return get_template_and_fix_tokenizer(self.tokenizer, self.data_args)

    @cached_property
    def data(self) -> dict[str, Any]:
        """Training and evaluation data with token marks, packed if the run packs."""
        return self._load(request_marks(self.data_args))

    @cached_property
    def examples(self) -> dict[str, Any]:
        """The same data, one example per row."""
        if not self.data_args.packing:
            return self.data
        return self._load(request_marks(self.data_args, packing=False, neat_packing=False, tokenized_path=None))

    @cached_property
    def engine(self) -> Engine | None:
        return engine_of(self.training_args)

    def _load_base(self, *, whole: bool = False) -> Any:
        """The base model; `whole` on every process, or spread as the engine wants it."""
        start_communication(self.training_args)
        with whole_weights(self.training_args) if whole else contextlib.nullcontext():
            return load_model(self.tokenizer, self.model_args, self.finetuning_args, is_trainable=True)

    def _load(self, data_args: Any) -> dict[str, Any]:
        module = get_dataset(
            self.template, self.model_args, data_args, self.training_args, stage="sft", **self.tokenizers
        )
        if MARKS_COLUMN not in module["train_dataset"].column_names:
            raise DataError(
                f"tokenized_path={data_args.tokenized_path} was made without marks; delete it, or name another "
                "folder, to have the data tokenized again."
            )
        return module

    def _check_data(self) -> None:
        for warning in check_datasets(self.data_args.dataset or [], self.data_args.dataset_dir) or ():
            self._say(warning)
        check_trained(self.examples["train_dataset"], group_by_task(self.examples["train_dataset"]))
        _ = self.data

    def _collator(self, model: nn.Module, *, packed: bool) -> MarkedCollator:
        neat = packed and self.data_args.neat_packing
        return MarkedCollator(
            template=self.template,
            model=model,
            pad_to_multiple_of=8,
            label_pad_token_id=-100,
            block_diag_attn=packed and self.model_args.block_diag_attn,
            neat_packing=neat,
            attn_implementation=getattr(model.config, "_attn_implementation", None),
            compute_dtype=self.model_args.compute_dtype or torch.float32,
            **self.tokenizers,
        )

    # Importance

    def _describe_base(self, base: nn.Module) -> dict[str, Any]:
        name = self.model_args.model_name_or_path
        return {
            "name": name,
            "revision": None if Path(name).is_dir() else self.model_args.model_revision,
            "commit": getattr(base.config, "_commit_hash", None),
            "linears": fingerprint(base),
        }

    def _load_importance(self, base: nn.Module) -> Importance | None:
        if not self.finetuning_args.citi_importance_load:
            return None
        path = Path(self.finetuning_args.citi_importance_load)
        importance = Importance.load(path)
        importance.check(path, shapes_of(base))
        return importance

    def _compute_importance(self, base: nn.Module) -> Importance:
        args, shapes = self.finetuning_args, shapes_of(base)
        path = Path(args.citi_importance_save or self.folder.path / "importance.json")
        settings = {
            "reduction": args.citi_importance_reduction,
            "dtype": self._scoring_dtype(base),
            "samples": args.citi_importance_samples,
            "dataset": self.data_args.dataset,
            "seed": self.training_args.seed,
            "data": content_hash(self.examples["train_dataset"]),
        }
        start = Importance(self.model_args.model_name_or_path, shapes, settings)
        if path.is_file():
            found = Importance.load(path)
            if args.citi_importance_dtype == "auto":  # what an interrupted run began with stays
                settings["dtype"] = found.settings.get("dtype", settings["dtype"])
            if (found.base, found.shapes, found.settings) == (start.base, start.shapes, start.settings):
                start = found
        with scoring_mode(
            base,
            float32=settings["dtype"] == "float32",
            checkpointing=not self.model_args.disable_gradient_checkpointing,
        ):
            return compute_importance(
                base,
                self.examples["train_dataset"],
                self._collator(base, packed=False),
                start,
                samples=args.citi_importance_samples,
                batch_size=self.training_args.per_device_train_batch_size,
                reduction=args.citi_importance_reduction,
                seed=self.training_args.seed,
                path=path,
            )

    def _scoring_dtype(self, base: nn.Module) -> str:
        asked = self.finetuning_args.citi_importance_dtype
        if asked != "auto":
            return str(asked)
        if fits_float32(base):
            return "float32"
        self._say(
            "Importance is scored in the model's 16 bits, as float32 does not fit into memory: scores are off by 1 to "
            "2 %, and which components are the least important is uncertain."
        )
        return "model"

    # Phases

    def _select(self, importance: Importance) -> Selection:
        args, phases = self.finetuning_args, self.folder.phases
        selection = choose(importance, args, phases, self.training_args.seed)
        if self.training_args.should_save:
            importance.save(self.folder.path / "importance.json")
            write_json(self.folder.path / SELECTION, selection.to_dict())
        self._say(describe_selection(selection, args))
        for remark in importance.remarks(*ratios(args, phases), end=args.citi_select):
            self._say(remark)
        return selection

    def _adapt(self, base: nn.Module, selection: Selection) -> PeftModel:
        """The base with fresh adapters and copies of the tuned linears, in a number type that trains."""
        mixed = self.training_args.bf16 or self.training_args.fp16
        if not mixed and next(base.parameters()).dtype in (torch.float16, torch.bfloat16):
            self._say("No mixed precision is set: the model is raised to float32. Set bf16: true to keep it small.")
            base.float()
        set_seed(self.training_args.seed)
        model = adapt(base, selection, self.finetuning_args, self.model_args.model_name_or_path)
        self.router = watch_routers(model, self.finetuning_args)
        return model

    def _model(self, selection: Selection, base: nn.Module) -> PeftModel:
        """The adapted model as the last complete phase left it."""
        model = self._adapt(base, selection)
        if done := self.folder.done():
            set_peft_model_state_dict(model, load_peft_weights(str(self.folder.adapter(done[-1])), device="cpu"))
        return model

    def _train(self, selection: Selection, model: PeftModel | None) -> None:
        """Runs the phases that are not done yet, then the evaluation.

        Args:
            selection: the components.
            model: what all phases train one after the other; None loads and adapts the base for each of them.
        """
        if done := self.folder.done():
            self._say(f"Resuming: phases {', '.join(phase.name for phase in done)} are complete.")
        left = self.folder.phases[len(done) :]
        for phase in left:
            own = model if model is not None else self._model(selection, self._load_base())
            moving = set_trainable(own, phase)
            self._say(describe(phase, moving, total_size(own.parameters())))
            trainer = self._trainer(own, phase)
            self._run_phase(trainer, phase, {group: list(counts) for group, counts in moving.items()})
            if phase is left[-1] and self.training_args.do_eval:
                self._evaluate(trainer)
            self._release(trainer, own)
            del trainer, own  # two models at once may not fit
        if self.training_args.do_eval and not left:
            if model is not None:
                self._evaluate(self._trainer(model, self.folder.phases[-1]))
            else:
                self._say("No evaluation: all phases were complete already. Evaluate the adapter with one process.")

    def _evaluate(self, trainer: CitiTrainer) -> None:
        if self.router is not None:
            self.router.end()
        metrics = trainer.evaluate(metric_key_prefix="eval")
        if self.training_args.should_save:
            write_json(self.folder.path / "eval_results.json", metrics)

    def _trainer(self, model: PeftModel, phase: Phase) -> CitiTrainer:
        args = copy.copy(self.training_args)
        args.output_dir = str(self.folder.folder(phase))
        args.num_train_epochs, args.learning_rate = phase.epochs, phase.lr
        args.run_name = f"{args.run_name}-{phase.name}" if args.run_name else None
        finetuning_args = copy.copy(self.finetuning_args)
        if "experts" not in phase.trains and "lora" not in phase.trains:
            finetuning_args.loraplus_lr_ratio = None
        renew_engine(args)
        return CitiTrainer(
            phase=phase,
            router=self.router if self.finetuning_args.citi_router_neutral else None,
            recompute=not self.model_args.use_unsloth_gc,
            exact_step=self.finetuning_args.citi_router_window == "step" and self.finetuning_args.citi_router_beta > 0,
            model=model,
            args=args,
            finetuning_args=finetuning_args,
            data_collator=self._collator(model, packed=bool(self.data_args.packing)),
            callbacks=list(self.callbacks),
            train_dataset=self.data["train_dataset"],
            eval_dataset=self.data.get("eval_dataset"),
            **self.tokenizers,
        )

    def _run_phase(self, trainer: CitiTrainer, phase: Phase, moving: Mapping[str, list[int]]) -> None:
        checkpoint, skipped = trainer.newest_checkpoint()
        for line in skipped:
            self._say(line)
        if checkpoint is not None:
            self._say(f"Resuming phase {phase.name} from {checkpoint}.")
        if self.training_args.should_save:
            self.folder.rewind_log(phase, int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        with self._closing(trainer, phase) as staged:
            trainer.log_metrics("train", result.metrics)
            trainer.save_metrics("train", result.metrics)
            trainer.save_state()
            trainer.save_model(str(staged / "adapter"), _internal_call=True)
            trainer.accelerator.wait_for_everyone()
            if self.training_args.should_save:
                manifest = read_json(self.folder.path / MANIFEST, "manifest")
                write_json(staged / "adapter" / MANIFEST, {**manifest, "phase": phase.name, "trained": moving})
                selection = read_json(self.folder.path / SELECTION, "selection")
                write_json(staged / "adapter" / SELECTION, selection)
                if self.finetuning_args.plot_loss:
                    plot_loss(str(staged), keys=["loss", "loss_router"])
                self.folder.close(phase)
        trainer.accelerator.wait_for_everyone()

    @contextlib.contextmanager
    def _closing(self, trainer: CitiTrainer, phase: Phase) -> Iterator[Path]:
        """Redirects what the trainer writes at the end of a phase, so that it appears whole or not at all."""
        staged = self.folder.closing(phase)
        staged.mkdir(parents=True, exist_ok=True)
        trainer.args.output_dir = str(staged)
        try:
            yield staged
        finally:
            trainer.args.output_dir = str(self.folder.folder(phase))

    def _release(self, trainer: CitiTrainer, model: PeftModel) -> None:
        """Lets go of this phase's optimizer and wrappers; the next phase wraps the model anew."""
        if self.router is not None:
            self.router.end()
        if self.engine is None:
            trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
        trainer.model_wrapped = model
        trainer.optimizer = trainer.lr_scheduler = None
        trainer.accelerator.free_memory()
        gc.collect()
        if "wandb" in (self.training_args.report_to or []):
            import wandb

            wandb.finish()

    # Report

    def _report(self, selection: Selection, model: PeftModel | None) -> Report | None:
        count = self.finetuning_args.citi_report_samples
        if not count:
            return None
        if model is None and self.finetuning_args.citi_importance_load:
            self._say(
                "No report: with citi_importance_load and weights spread over processes, the model need not fit into "
                "one process. Evaluate the finished adapter with do_predict."
            )
            return None
        if model is None:
            with whole_weights(self.training_args):
                model = self._model(selection, self._load_base(whole=True))
        held_out = self.examples.get("eval_dataset")
        usable = held_out is not None and not isinstance(held_out, dict) and TASK_COLUMN in held_out.column_names
        dataset = held_out if usable else self.examples["train_dataset"]
        groups = group_by_task(dataset, both=False)
        seed = self.training_args.seed
        report = make_report(
            model,
            self.router,
            dataset,
            {task: (mark, sample_rows(rows, count, seed)) for task, (mark, rows) in groups.items()},
            self._collator(model, packed=False),
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

    @staticmethod
    def _say(text: str) -> None:
        logger.info_rank0(text)


def _versions() -> dict[str, str]:
    names = ("llamafactory", "llamafactory_ext", "torch", "transformers", "peft", "accelerate")
    return {name: importlib.metadata.version(name) for name in names}
