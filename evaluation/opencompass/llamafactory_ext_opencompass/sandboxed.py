"""HumanEval for OpenCompass with generated code in a sandbox: OpenCompass itself would run it beside everything."""

from __future__ import annotations

from typing import Any

from opencompass.openicl.icl_evaluator import BaseEvaluator

from llamafactory_ext.metrics.sandbox import Limits, run_tests

_LIMITS = Limits(seconds=15)


class SandboxedHumanEval(BaseEvaluator):
    """pass@1 as OpenCompass's own evaluator forms it: prompt, completion, tests, check."""

    def score(self, predictions: list[str], references: list[str], test_set: Any) -> dict[str, Any]:
        """The share of completions that pass, in per cent, with details."""
        details = {}
        for place, (completion, task, item) in enumerate(zip(predictions, references, test_set, strict=True)):
            program = f"{item['prompt']}{completion}\n"
            tests = f"{item['test']}\ncheck({item['entry_point']})\n"
            outcome = run_tests(program, tests, entry=item["entry_point"], context=item["prompt"], limits=_LIMITS)
            passed = outcome.status == "finished"
            details[str(place)] = {"task_id": task, "result": outcome.status, "is_correct": passed}
        passed_all = sum(detail["is_correct"] for detail in details.values())
        return {"humaneval_pass@1": 100 * passed_all / len(details), "details": details}
