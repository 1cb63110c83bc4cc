"""Our tool benchmarks as OpenCompass data sets, scored by `llamafactory_ext.metrics`."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from opencompass.datasets.base import BaseDataset
from opencompass.openicl.icl_evaluator import BaseEvaluator

from llamafactory_ext.metrics.predictions import Prediction
from llamafactory_ext.metrics.report import Mode
from llamafactory_ext.metrics.scoring import score
from llamafactory_ext.serving.infer.identity import settings_hash
from llamafactory_ext.serving.infer.prompts import Prompt, styled_messages, template_named
from llamafactory_ext.serving.infer.questions import of_benchmark

_FIRST_CALLS = "DE of first calls: one turn, no tool answered. CE and VA need dialogues with a tool server (`infer`)."


class ToolBenchmark(BaseDataset):
    """The items of a benchmark's published files, each as one user message in the words of one of our templates."""

    @staticmethod
    def load(benchmark: str, source: str, template: str) -> DatasetDict:
        """Rows with `id`, `prompt` and the prompt's hash.

        Args:
            benchmark: as `llamafactory-ext score` calls it.
            source: folder of the published files.
            template: whose words present the tools; the chat format is the server's.
        """
        style = template_named(template)
        rows = []
        for question in of_benchmark(benchmark, Path(source)).questions:
            if benchmark == "api_bank":  # its prompts are whole texts that name the tools themselves
                text = question.turns[0].content
            else:
                messages = styled_messages(question, style)
                text = "\n\n".join(message["content"] for message in messages)
            sha256 = Prompt(question, text=text).sha256
            rows.append({"id": question.id, "prompt": text, "label": json.dumps([question.id, sha256])})
        table = Dataset.from_list(rows)
        return DatasetDict({"train": table, "test": table})


class ToolEvaluator(BaseEvaluator):
    """Hands the predictions to our scorer.

    Args:
        benchmark: as `llamafactory-ext score` calls it.
        source: folder of the published files.
        checkout: the user's checkout of API-Bank, which its official verdicts need; strict ones without it.
        embedder: what its ToolSearcher needs.
        model: as the server calls it; its hash goes into the records.
    """

    def __init__(self, benchmark: str, source: str, checkout: str, embedder: str, model: str) -> None:
        super().__init__()
        self._benchmark, self._source = benchmark, source
        self._checkout, self._embedder = checkout or None, embedder or None
        self._model_hash = settings_hash({"served_model": model, "through": "opencompass"})

    def score(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        """Figures in per cent, and the whole report under `report`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "predictions.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for text, label in zip(predictions, references, strict=True):
                    own_id, sha256 = json.loads(label)
                    file.write(Prediction(own_id, self._benchmark, sha256, self._model_hash, text).to_line())
            is_strict = self._benchmark == "api_bank" and not self._checkout
            mode: Mode = "strict" if is_strict else "official"
            report = score(self._benchmark, path, self._source, mode, checkout=self._checkout, embedder=self._embedder)
        if self._benchmark == "tooleyes":
            kept = tuple(figure for figure in report.figures if figure.name.startswith("DE"))
            report = replace(report, figures=kept, notes=(*report.notes, _FIRST_CALLS))
        figures = {figure.name: 100 * figure.value for figure in report.figures}
        return figures | {"report": report.to_json()}
