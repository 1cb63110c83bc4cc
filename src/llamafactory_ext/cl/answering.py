"""`python -m llamafactory_ext.cl.answering JOB.json`: one model, asked the test items of several tasks.

A process of its own, so that its memory is free before the next training. Answers lie in files that a repeated job
goes on with; the model is loaded once for all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json
from ..errors import ExtError
from ..serving.infer import prompts
from ..serving.infer.answers import AnswerFile
from ..serving.infer.hf import HfBackend
from ..serving.infer.identity import settings_hash
from ..serving.infer.options import InferOptions
from ..serving.infer.questions import of_file


def answer(job: dict[str, Any]) -> None:
    """Ask a model all items that its files of answers lack.

    Args:
        job: model, base, template, batch_size and tasks: [{dataset, out, max_new_tokens}].
    """
    prompts.ELSEWHERE[:] = [upstreams]
    backend: HfBackend | None = None
    for task in job["tasks"]:
        options = InferOptions(
            model=job["model"],
            base=job["base"] or "",
            template=job["template"],
            backend="hf",
            dataset=task["dataset"],
            out=task["out"],
            max_new_tokens=task["max_new_tokens"],
            batch_size=job["batch_size"],
        )
        if backend is None:
            backend = HfBackend(options)
        backend.use(options)
        asked = [backend.prompt(question) for question in of_file(Path(task["dataset"]), "cl").questions]
        settings = backend.identity() | {"benchmark": "cl", "template": job["template"]}
        settings |= {"max_new_tokens": task["max_new_tokens"]}
        with AnswerFile(Path(task["out"]), settings, settings_hash(settings), asked) as file:
            left = [prompt for prompt in asked if prompt.question.id not in file.done]
            for prompt, text in backend.answers(left):
                file.add(prompt, text or "")


def upstreams(name: str) -> Callable[[Any], Any] | None:
    """Look for a template of LLaMA-Factory's; it is imported only for a name that is none of ours."""
    from ..upstream.pipeline.asking import upstream_template

    return upstream_template(name)


def run_job(work: Callable[[Any], None]) -> None:
    """Run the job that the command line names; an error of ours is one line and exit code 2."""
    try:
        work(read_json(Path(sys.argv[1]), "job"))
    except ExtError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run_job(answer)
