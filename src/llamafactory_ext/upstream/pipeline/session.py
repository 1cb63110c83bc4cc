"""Has what every run of ours begins with: the groups of options, the tokenizers and the template made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...training.stopping import Stop, stoppable
from ...training.together import check_options, together
from .api import load_tokenizer
from .fitting import fit_template


@dataclass
class Session:
    """One run, whose parts are made when they are first needed.

    Attributes:
        model_args, data_args, training_args, finetuning_args: upstream's groups of the options.
    """

    model_args: Any
    data_args: Any
    training_args: Any
    finetuning_args: Any

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizer and the processor, by upstream's names."""
        return load_tokenizer(self.model_args)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.tokenizers["tokenizer"]

    @cached_property
    def template(self) -> Any:
        """The template, fitted to the tokenizer."""
        return self.dated(fit_template(self.tokenizers, self.data_args))

    def dated(self, template: Any) -> Any:
        """Return the template that writes the day of the run, where a method keeps one."""
        return template


@contextmanager
def begun(session: Session, how_to_resume: Callable[[], str], warn: Callable[[str], None]) -> Iterator[Stop]:
    """Take Ctrl-C, and settle how processes work together, from the beginning of a run to its end.

    Args:
        session: the run.
        how_to_resume: what is kept and what to do, in one sentence.
        warn: tells the user, on every process.

    Raises:
        ExtError: the processes do not fit together.
    """
    groups = (session.model_args, session.data_args, session.training_args, session.finetuning_args)
    with stoppable(how_to_resume) as stop, together(session.training_args, warn):
        check_options(*groups)
        yield stop
