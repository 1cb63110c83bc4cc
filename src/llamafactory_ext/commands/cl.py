"""`llamafactory-ext cl ...`: continual learning, tasks one after the other."""

from __future__ import annotations

from pathlib import Path

from .words import refuse_numbers


class Cl:
    """Continual learning: methods side by side on a sequence of tasks."""

    def run(self, plan: str, allow_leak: bool = False) -> None:
        """Train and measure every task, method and seed of a YAML file; the same command goes on.

        Args:
            plan: the YAML file, such as examples/yaml/cl/tools_tiny.yaml.
            allow_leak: take test files whose items stand in the training data.
        """
        from ..cl.driver import run_plan
        from ..cl.plan import read_plan
        from ..cl.report import as_markdown, write_report

        found = read_plan(Path(str(plan)), allow_leak=allow_leak)
        result = run_plan(found)
        paths = write_report(result, found.out)
        print(as_markdown(result).partition("\n## ")[0])
        print(f"Written: {', '.join(map(str, [found.out / 'result.json', *paths]))}")

    def convert(
        self, kind: str, source: str, out: str, allow_leak: bool = False, prefix: bool = True, seed: int = 1
    ) -> None:
        """Write train.json and test.json of one published task, or of each of API-Bank's domains.

        Args:
            kind: cl_benchmark (a folder such as CL_Benchmark/NLI/MNLI), trace (one such as NumGLUE-cm), or api_bank.
            source: the task's folder; of api_bank the one with meta/ and test-data/.
            out: the folder to write to.
            allow_leak: write a test file although its items stand in the training data.
            prefix: cl_benchmark: begin prompts with the task's and the data set's name.
            seed: api_bank: of the halves, one to train on and one to test.
        """
        from ..cl.sources import convert
        from ..cl.toolsets import convert_api_bank

        refuse_numbers("cl convert", whole={"seed": (seed, 0)}, real={})
        if kind == "api_bank":
            toolsets = convert_api_bank(Path(str(source)), Path(str(out)), seed=seed)
            for name, task in toolsets.tasks.items():
                print(f"{len(task.train)} training and {len(task.test)} test items: {Path(str(out)) / name}")
                if task.leaked:
                    print(f"{task.leaked} test items stand in the training data too.")
            if others := sum(toolsets.others.values()):
                print(f"{others} calls are of other domains and were left out.")
            return
        found = convert(kind, Path(str(source)), Path(str(out)), allow_leak=allow_leak, prefix=prefix)
        print(f"{len(found.train)} training and {len(found.test)} test items: {out}")
        if found.unanswerable:
            print(f"{found.unanswerable} test items have no answer and were left out.")
        if found.leaked:
            print(f"{found.leaked} test items stand in the training data too.")
