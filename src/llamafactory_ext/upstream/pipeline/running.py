"""LLaMA-Factory's training as a call, for trainings that bring callbacks of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

from llamafactory.train.tuner import run_exp


def run_training(options: Mapping[str, Any], callbacks: Sequence[Any]) -> None:
    """Train as `llamafactory-cli train` does with a file of these options, in this process.

    Args:
        options: of the training.
        callbacks: of transformers' trainer, before upstream's own.
    """
    run_exp(dict(options), list(callbacks))
