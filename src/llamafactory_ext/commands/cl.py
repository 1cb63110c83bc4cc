"""`llamafactory-ext cl ...`: continual learning, tasks one after the other."""

from __future__ import annotations

from pathlib import Path


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

    def convert(self, kind: str, source: str, out: str, allow_leak: bool = False, prefix: bool = True) -> None:
        """Write train.json and test.json of one published task.

        Args:
            kind: cl_benchmark (a folder such as CL_Benchmark/NLI/MNLI) or trace (one such as NumGLUE-cm).
            source: the task's folder.
            out: the folder to write to.
            allow_leak: write a test file although its items stand in the training data.
            prefix: cl_benchmark: begin prompts with the task's and the data set's name.
        """
        from ..cl.sources import convert

        found = convert(kind, Path(str(source)), Path(str(out)), allow_leak=allow_leak, prefix=prefix)
        print(f"{len(found.train)} training and {len(found.test)} test items: {out}")
        if found.unanswerable:
            print(f"{found.unanswerable} test items have no answer and were left out.")
        if found.leaked:
            print(f"{found.leaked} test items stand in the training data too.")
