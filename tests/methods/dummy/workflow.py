"""Trains a LoRA adapter at learning rate 0 in one phase: all that a run has, and nothing learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from transformers import set_seed

from llamafactory_ext.checkpoint.saving import SafeCheckpoints
from llamafactory_ext.training.engines import renew_engine
from llamafactory_ext.training.parameters import trainable_names
from llamafactory_ext.training.phased import METHOD, Phase, PhasedFolder
from llamafactory_ext.training.phases_run import PhasedRun
from llamafactory_ext.training.stopping import Stop, how_to_resume, stoppable
from llamafactory_ext.training.together import check_options, together
from llamafactory_ext.upstream.pipeline.api import (
    CustomSeq2SeqTrainer,
    SupervisedCollator,
    get_dataset,
    load_model,
    load_tokenizer,
)
from llamafactory_ext.upstream.pipeline.fitting import fit_template


@dataclass(frozen=True)
class DummyFolder(PhasedFolder):
    NAMES: ClassVar = ("idle",)


class DummyTrainer(SafeCheckpoints, CustomSeq2SeqTrainer):
    """Upstream's trainer with whole checkpoints."""


def run_dummy(*groups: Any) -> None:
    """Run or resume; the arguments are upstream's five groups and the callbacks."""
    *_, callbacks = groups
    run = _Dummy(groups, list(callbacks or []))
    kept = lambda: how_to_resume(run.training_args, *map(run.folder.folder, run.folder.phases))  # noqa: E731
    with stoppable(kept) as stop, together(run.training_args, print):
        check_options(*groups[:4])
        run.stop = stop
        run.run()


@dataclass
class _Dummy(PhasedRun):
    groups: tuple[Any, ...]
    callbacks: list[Any]
    stop: Stop = None  # type: ignore[assignment]

    def run(self) -> None:
        args = self.training_args
        plan = {"epochs": self.groups[3].dummy_epochs, "template": self.groups[1].template}
        if not args.overwrite_output_dir:
            self.folder.check(plan)
        phases = [{"name": phase.name, "title": phase.title} for phase in self.folder.phases]
        self.folder.start({METHOD: "dummy", "plan": plan, "phases": phases}, overwrite=args.overwrite_output_dir)
        self.run_phases(self.restored(self.fresh_model()))
        self.folder.finish()

    @property
    def training_args(self) -> Any:
        return self.groups[2]

    @cached_property
    def folder(self) -> DummyFolder:
        phase = Phase("idle", "Doing nothing", frozenset({"lora"}), self.groups[3].dummy_epochs, 0.0)
        return DummyFolder(Path(self.training_args.output_dir), (phase,))

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        return load_tokenizer(self.groups[0])

    def say(self, text: str) -> None:
        print(text)

    def fresh_model(self) -> Any:
        set_seed(self.training_args.seed)
        return load_model(self.tokenizers["tokenizer"], self.groups[0], self.groups[3], is_trainable=True)

    def begin(self, model: Any, phase: Phase) -> Mapping[str, Sequence[int]]:
        return {"lora": (len(trainable_names(model)), 0)}

    def make_trainer(self, model: Any, phase: Phase) -> DummyTrainer:
        args = self.arguments_of(phase)
        renew_engine(args)
        template = fit_template(self.tokenizers, self.groups[1])
        data = get_dataset(template, *self.groups[:3], stage="sft", **self.tokenizers)
        return DummyTrainer(
            model=model,
            args=args,
            finetuning_args=self.groups[3],
            data_collator=SupervisedCollator(
                template=template, model=model, label_pad_token_id=-100, **self.tokenizers
            ),
            callbacks=[*self.callbacks, self.stop.callback],
            **data,
            **self.tokenizers,
        )
