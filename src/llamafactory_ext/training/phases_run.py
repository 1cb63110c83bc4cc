"""Runs the phases of a run one after the other, each from where an interruption left it, free of any method.

What it does: skips complete phases, resumes a begun one from its newest whole checkpoint, seals what a phase has
trained, and evaluates at the end. What it does not do: choose what a phase trains, or make its trainer; a method
derives `PhasedRun` and does.
"""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from peft.utils import load_peft_weights, set_peft_model_state_dict

from ..checkpoint.atomic import read_json, read_object, write_json
from ..checkpoint.base import MANIFEST
from .engines import engine_of
from .phased import Phase, PhasedFolder
from .processes import lowest_of_all
from .stopping import Stop


class PhasedRun:
    """The phases of one run; all processes of it take part in every method.

    Attributes:
        BESIDE: JSON files of the run's folder that are copied beside every phase's adapter.
        folder: of the run, started.
        stop: tells of signals.
        training_args: upstream's group of the options.
    """

    BESIDE: ClassVar[tuple[str, ...]] = ()
    stop: Stop

    # What a method says

    @property
    def folder(self) -> PhasedFolder:
        """The folder of the run."""
        raise NotImplementedError

    @property
    def training_args(self) -> Any:
        """Upstream's group of the options."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Write a line of the run's log, from the main process."""
        raise NotImplementedError

    def fresh_model(self) -> Any:
        """Return the base with fresh adapters, as the first phase begins with it."""
        raise NotImplementedError

    def begin(self, model: Any, phase: Phase) -> Mapping[str, Sequence[int]]:
        """Let exactly the phase's parameters move; return tensors and numbers of each group that does."""
        raise NotImplementedError

    def make_trainer(self, model: Any, phase: Phase) -> Any:
        """Return the trainer of a phase, with safe checkpoints (checkpoint/saving.py) and `arguments_of` it."""
        raise NotImplementedError

    def measured(self, trainer: Any, metrics: dict[str, Any]) -> None:
        """Add to the metrics of a phase that has ended."""

    def draw(self, trainer: Any, staged: Path) -> None:
        """Add files to those of a complete phase, in the main process."""

    def rest(self) -> None:
        """Let go of what watches the model during training."""

    # What every method gets

    def arguments_of(self, phase: Phase) -> Any:
        """Return the training arguments of a phase; `renew_engine` (engines.py) must follow once they are settled."""
        args = copy.copy(self.training_args)
        args.output_dir = str(self.folder.folder(phase))
        args.num_train_epochs, args.learning_rate = phase.epochs, phase.lr
        args.run_name = f"{args.run_name}-{phase.name}" if args.run_name else None
        return args

    def done(self) -> list[Phase]:
        """Return the phases that are complete on every disk that the run writes to."""
        writes = self.training_args.should_save
        count = lowest_of_all(len(self.folder.done()) if writes else 0, decides=writes)
        return list(self.folder.phases[:count])

    def restored(self, model: Any) -> Any:
        """Return a freshly adapted model as the last complete phase left it."""
        if done := self.done():
            set_peft_model_state_dict(model, load_peft_weights(str(self.folder.adapter(done[-1])), device="cpu"))
        return model

    def run_phases(self, model: Any | None) -> None:
        """Run the phases that are not done yet, then the evaluation.

        Args:
            model: what all phases train one after the other; None makes one for each of them.
        """
        if done := self.done():
            self.say(f"Resuming: phases {', '.join(phase.name for phase in done)} are complete.")
        left = self.folder.phases[len(done) :]
        for phase in left:
            own = model if model is not None else self.restored(self.fresh_model())
            moving = self.begin(own, phase)
            trainer = self.make_trainer(own, phase)
            self._run_phase(trainer, phase, {group: list(counts) for group, counts in moving.items()})
            if phase is left[-1] and self.training_args.do_eval:
                self._evaluate(trainer)
            self._release(trainer, own)
            del trainer, own  # two models at once may not fit
        if self.training_args.do_eval and not left:
            if model is not None:
                self._evaluate(self.make_trainer(model, self.folder.phases[-1]))
            else:
                self.say("No evaluation: all phases were complete already. Evaluate the adapter with one process.")

    def _run_phase(self, trainer: Any, phase: Phase, moving: Mapping[str, list[int]]) -> None:
        checkpoint, skipped = trainer.newest_checkpoint()
        for line in skipped:
            self.say(line)
        if checkpoint is not None:
            self.say(f"Resuming phase {phase.name} from {checkpoint}.")
        if self.training_args.should_save:
            self.folder.rewind_log(phase, int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        self.stop.check(trainer.state)
        self.measured(trainer, result.metrics)
        with self._closing(trainer, phase) as staged:
            trainer.log_metrics("train", result.metrics)
            trainer.save_metrics("train", result.metrics)
            trainer.save_state()
            trainer.save_model(str(staged / "adapter"), _internal_call=True)
            trainer.accelerator.wait_for_everyone()
            if self.training_args.should_save:
                manifest = read_object(self.folder.path / MANIFEST, "manifest")
                write_json(staged / "adapter" / MANIFEST, {**manifest, "phase": phase.name, "trained": moving})
                for name in self.BESIDE:
                    write_json(staged / "adapter" / name, read_json(self.folder.path / name, Path(name).stem))
                self.draw(trainer, staged)
                self.folder.close(phase)
        trainer.accelerator.wait_for_everyone()
        self.stop.check()

    @contextlib.contextmanager
    def _closing(self, trainer: Any, phase: Phase) -> Iterator[Path]:
        """Redirect what the trainer writes at the end of a phase, so that it appears whole or not at all."""
        staged = self.folder.closing(phase)
        staged.mkdir(parents=True, exist_ok=True)
        trainer.args.output_dir = str(staged)
        try:
            yield staged
        finally:
            trainer.args.output_dir = str(self.folder.folder(phase))

    def _evaluate(self, trainer: Any) -> None:
        self.rest()
        metrics = trainer.evaluate(metric_key_prefix="eval")
        if self.training_args.should_save:
            write_json(self.folder.path / "eval_results.json", metrics)

    def _release(self, trainer: Any, model: Any) -> None:
        """Let go of a phase's optimizer and wrappers; the next phase wraps the model anew."""
        self.rest()
        if engine_of(self.training_args) is None:
            trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
        trainer.model_wrapped = model
        trainer.optimizer = trainer.lr_scheduler = None
        trainer.accelerator.free_memory()
        gc.collect()
        if "wandb" in (self.training_args.report_to or []):
            import wandb

            wandb.finish()
