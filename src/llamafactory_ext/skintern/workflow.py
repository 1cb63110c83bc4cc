"""`llamafactory-cli train` with `stage: skintern`: the data of each step, its training, its seal.

What it does: wiring only. Every step leaves a complete folder behind; the same command resumes from the newest one.
"""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..checkpoint.atomic import read_json, read_object, write_json
from ..checkpoint.base import MANIFEST
from ..checkpoint.folders import newest_complete
from ..errors import CheckpointError
from ..methods import counted
from ..tl.plan import with_contents
from ..training.engines import engine_of, renew_engine
from ..training.parameters import RAISED, raise_to_float32
from ..training.phased import METHOD, Phase
from ..training.phases_run import PhasedRun
from ..training.processes import by_main
from ..training.same_data import check_same_base, check_same_data, content_hash
from ..training.stopping import Stop, how_to_resume
from ..training.token_weights import WEIGHTS_COLUMN
from ..upstream.pipeline.api import (
    SupervisedCollator,
    accuracy_of,
    calculate_tps,
    load_model,
    plot_evaluated,
    plot_loss,
)
from ..upstream.pipeline.channels import CarryingCollator
from ..upstream.pipeline.session import begun
from .distil import DistilTrainer, Teacher
from .inputs import Inputs, logger
from .plan import SkinternFolder, make_plan
from .sealed import write_step
from .settings import ONE
from .trainer import SkinternTrainer

CONTENTS = "contents"  # in the manifest: hashes of data and base of each step that has begun


def run_skintern(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: Sequence[Any] | None = None,
) -> None:
    """Run or resume all steps (SKIntern, arXiv:2409.13183, section 3.3); the arguments are upstream's groups.

    Raises:
        ExtError: options, data or an earlier run in the folder do not fit; nothing was trained.
    """
    run = _Skintern(Inputs(model_args, data_args, training_args, finetuning_args), list(callbacks or []))
    with begun(run.inputs, run.kept, logger.warning) as run.stop:
        run.run()


def training_rows(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> Any:
    """Return the rows of the first step, whose prompts are the longest, in a folder that is removed.

    Raises:
        ExtError: options or data do not fit.
    """
    import tempfile

    inputs = Inputs(model_args, data_args, training_args, finetuning_args)
    with tempfile.TemporaryDirectory() as folder:
        write_step(inputs.sets, 0, Path(folder) / "data")
        return inputs.rows(Path(folder) / "data")["train_dataset"]


@dataclass
class _Skintern(PhasedRun):
    """One run; its parts are made when they are first needed."""

    inputs: Inputs
    callbacks: list[Any]
    stop: Stop = field(default_factory=Stop)
    contents: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        args = self.training_args
        plan = make_plan(self.model_args, self.data_args, args, self.finetuning_args, self.inputs.digests())
        if not args.overwrite_output_dir:
            self.folder.check(plan)
        self.inputs.report_records()
        self.inputs.report_budget()
        _ = self.inputs.measure  # reads its data: what is wrong with them is named before training
        with args.main_process_first(desc="start the run", local=False):
            if args.should_save:
                self.folder.start(self._manifest(plan), overwrite=args.overwrite_output_dir)
        left = self.folder.phases[len(self.done()) :]
        if left:
            self.inputs.data_of(left[0])  # whatever is wrong with the data is said before the model is loaded
        model = None if engine_of(args) is not None else self.fresh_model()
        self.run_phases(model)
        self._measure(model, len(self.folder.phases))
        if args.should_save:
            self.folder.finish()
            logger.info_rank0(f"Finished: the model of the last step is in {self.folder.path}.")
            if self.inputs.measure is not None:
                print(self.inputs.measure.result().text())

    def _place(self, model: Any) -> None:
        """Put a model where it will be trained; a quantised one is there already."""
        if not getattr(model, "is_quantized", False):
            model.to(self.training_args.device)

    def _measure(self, model: Any, step: int) -> None:
        """Measure the model after a step, where that is asked for; the main process does, the others wait."""
        measure = self.inputs.measure
        if measure is None:
            return
        with self.training_args.main_process_first(desc=f"measure after step {step}", local=False):
            if self.training_args.should_save:
                self._place(model)
                share = self.inputs.settings.shares[step - 1] if step else 1.0
                measure.take(model, step, share)

    def kept(self) -> str:
        """Return what an interrupted run has kept, and how to resume it."""
        done = [phase.name for phase in self.folder.done()]
        left = [self.folder.folder(phase) for phase in reversed(self.folder.phases) if phase.name not in done]
        if any(newest_complete(place) is not None for place in left):
            return how_to_resume(self.training_args, *left)
        if not done:
            return "no checkpoint was saved yet. Repeat the command to begin again."
        without = " without overwrite_output_dir" if self.training_args.overwrite_output_dir else ""
        return f"steps {', '.join(done)} are kept. Repeat the command{without} to resume from there."

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

    @property
    def folder(self) -> SkinternFolder:
        return self.inputs.folder

    def _manifest(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        versions = ("llamafactory", "llamafactory_ext", "torch", "transformers", "peft", "accelerate")
        return {
            METHOD: "skintern",
            "plan": dict(plan),
            "phases": [
                {"name": phase.name, "title": phase.title, "epochs": phase.epochs, "lr": phase.lr}
                for phase in self.folder.phases
            ],
            CONTENTS: {},
            "versions": {name: importlib.metadata.version(name) for name in versions},
        }

    # Steps

    def say(self, text: str) -> None:
        logger.info_rank0(text)

    def fresh_model(self) -> Any:
        """Return the model as the last complete step left it; before the first one, as the options name it."""
        model_args, done = copy.copy(self.model_args), self.done()
        if done:
            last = str(self.folder.adapter(done[-1]))
            if self._moves_whole_model:
                model_args.model_name_or_path = last
            else:
                model_args.adapter_name_or_path = [last]
        model = load_model(self.inputs.tokenizers["tokenizer"], model_args, self.finetuning_args, is_trainable=True)
        check_same_base(model, self.training_args)
        if raise_to_float32(model, self.training_args):
            self.say(RAISED)
        return model

    def restored(self, model: Any) -> Any:
        return model

    def begin(self, model: Any, phase: Phase) -> Mapping[str, Sequence[int]]:
        self._measure(model, list(self.folder.phases).index(phase))
        self.say(f"Step {phase.name}: {phase.title}, {counted(phase.epochs, 'epoch')} at {phase.lr:g}.")
        rows = self.inputs.data_of(phase)["train_dataset"]
        check_same_data({"training": rows})
        found = with_contents({}, content_hash(rows), model, self.model_args, self.training_args)
        if self._moves_whole_model and phase is not self.folder.phases[0]:
            found.pop("base model (hash)", None)
        by_main(partial(self._compare, phase, found))
        self.contents = found
        return {}

    @property
    def _moves_whole_model(self) -> bool:
        return self.finetuning_args.finetuning_type in ("full", "freeze")

    def _compare(self, phase: Phase, found: Mapping[str, str]) -> None:
        """Keep the hashes of a step's rows and, where it is as loaded, of the base; earlier ones must be the same.

        Raises:
            CheckpointError: they differ.
        """
        path = self.folder.path / MANIFEST
        manifest = read_object(path, "manifest")
        known = manifest.get(CONTENTS, {}).get(phase.name, {})
        if changed := [name for name in found if known.get(name, found[name]) != found[name]]:
            raise CheckpointError(
                f"{self.folder.path} holds a run whose step {phase.name} began with other {' and '.join(changed)}. "
                "Put the old one back to resume, or choose another output_dir, or set overwrite_output_dir: true to "
                "start anew."
            )
        manifest.setdefault(CONTENTS, {})[phase.name] = dict(found)
        write_json(path, manifest)

    def make_trainer(self, model: Any, phase: Phase) -> SkinternTrainer:
        args = self.arguments_of(phase)
        renew_engine(args)
        phases = list(self.folder.phases)
        before = sum(other.epochs for other in phases[: phases.index(phase)]) / phase.epochs
        whole = sum(other.epochs for other in phases) / phase.epochs
        weighed = partial(CarryingCollator, columns=(WEIGHTS_COLUMN,))
        kind = SupervisedCollator if self.inputs.settings.rows == ONE else weighed
        make: Callable[..., SkinternTrainer] = SkinternTrainer
        if self.finetuning_args.skintern_baseline == "distil" and phase is phases[-1]:
            make = partial(DistilTrainer, teacher=self._teacher(model, phase))
        trainer = make(
            before=before,
            whole=whole if self.finetuning_args.skintern_lr_schedule == "whole" else None,
            model=model,
            args=args,
            finetuning_args=self.finetuning_args,
            data_collator=kind(
                template=self.inputs.template,
                model=model,
                pad_to_multiple_of=None if self.data_args.packing else 8,  # of one length, with positions
                label_pad_token_id=-100,
                block_diag_attn=self.model_args.block_diag_attn,
                neat_packing=self.data_args.neat_packing,
                attn_implementation=getattr(model.config, "_attn_implementation", None),
                compute_dtype=self.model_args.compute_dtype or torch.float32,
                **self.inputs.tokenizers,
            ),
            callbacks=[*self.callbacks, self.stop.callback],
            **accuracy_of(self.finetuning_args),
            **self.inputs.data_of(phase),
            **self.inputs.tokenizers,
        )
        trainer.plan = {**read_json(self.folder.path / MANIFEST, "manifest")["plan"], **self.contents}
        return trainer

    def _teacher(self, model: Any, phase: Phase) -> Teacher:
        """Return what the model, as the step before has left it, says with all knowledge."""
        known = self.inputs.data_of(self.folder.phases[0])["train_dataset"]
        bare = self.inputs.data_of(phase)["train_dataset"]
        self._place(model)
        self.say(
            f"Distillation: {len(known):,} records with all knowledge are answered by the model of the last step."
        )
        return Teacher.of(model, known, bare, self.inputs.tokenizers["tokenizer"].pad_token_id)

    def measured(self, trainer: SkinternTrainer, metrics: dict[str, Any]) -> None:
        if self.finetuning_args.include_effective_tokens_per_second:
            rate = calculate_tps(trainer.train_dataset, metrics, stage="sft")
            metrics["effective_tokens_per_sec"] = rate

    def draw(self, trainer: SkinternTrainer, staged: Path) -> None:
        if self.finetuning_args.plot_loss:
            evaluated = plot_evaluated(self.training_args, self.finetuning_args, trainer.eval_dataset)
            plot_loss(str(staged), ["loss", *evaluated], shown=str(staged.parent))
