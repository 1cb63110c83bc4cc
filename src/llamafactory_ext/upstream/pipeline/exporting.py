"""Gives exported tokenizers the chat template that renders what was trained."""

from __future__ import annotations

import datetime as calendar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_tokenizer

from ...checkpoint.atomic import write_text
from ...checkpoint.base import MANIFEST
from ...methods import row_of
from .chat_template import exported_chat_template
from .trained_with import REPORT, read_facts

CHAT_TEMPLATE = "chat_template.jinja"  # where transformers reads it from first


@dataclass(frozen=True)
class Trained:
    """What a run's folder says about its prompts.

    Attributes:
        day: the day that its tools say; None where they say none.
        drops_thoughts: whether thoughts of earlier replies were left out.
    """

    day: calendar.date | None = None
    drops_thoughts: bool = False

    @classmethod
    def of(cls, folder: Path) -> Trained | None:
        """Read the folder of a run of ours; None for any other."""
        kept = [read_facts(folder / name) for name in (MANIFEST, REPORT)]
        if not any(kept):
            return None
        day = next((facts["date"] for facts in kept if isinstance(facts.get("date"), str)), "")
        plan = kept[0].get("plan")
        masks = isinstance(plan, dict) and plan.get("mask_history") is True
        return cls(_date(day), masks or _draws(kept[1].get("stage")))


def give_chat_template(template: Any, tokenizer: Any, data_args: Any, trained: Trained, *others: Any) -> str:
    """Set the chat template of the tokenizer and say so in a line, or say why it keeps its own.

    Args:
        template: of the training.
        tokenizer: about to be saved.
        data_args: upstream's group of the options.
        trained: what the run's folder says.
        others: a processor of a multimodal model, which keeps a chat template of its own; None is passed over.
    """
    if data_args.template is None:
        return "The tokenizer keeps its own chat template, as no template is named."
    drops = (trained.drops_thoughts or bool(data_args.mask_history)) and not template.preserve_thinking
    made = exported_chat_template(template, tokenizer, day=trained.day, drops_thoughts=drops)
    if made.reason:
        return (
            f"The tokenizer keeps its own chat template: template {data_args.template} has none that renders what "
            f"was trained ({made.reason})."
        )
    for holder in (tokenizer, *others):
        if holder is not None:
            holder.chat_template = made.text
    return f"The tokenizer's chat template renders what template {data_args.template} trains, with tools and calls."


def renew_chat_template(args: dict[str, Any]) -> str | None:
    """Give the tokenizer that upstream has exported the chat template of a run of our stages.

    Returns:
        The line to print; None where the exported model comes from no such run.
    """
    sources = [*str(args.get("adapter_name_or_path") or "").split(","), str(args.get("model_name_or_path"))]
    trained = next((found for found in (Trained.of(Path(source)) for source in sources if source) if found), None)
    if trained is None:
        return None
    model_args, data_args, _, _ = get_infer_args(args)
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    before = tokenizer.chat_template
    line = give_chat_template(template, tokenizer, data_args, trained)
    if tokenizer.chat_template != before:
        write_text(Path(model_args.export_dir) / CHAT_TEMPLATE, tokenizer.chat_template)
    return line


def _draws(stage: object) -> bool:
    """Tell whether a stage trains on replies that it draws, each to a prompt without thoughts."""
    row = row_of(stage, "stage")
    return row is not None and row.alone


def _date(text: str) -> calendar.date | None:
    try:
        return calendar.date.fromisoformat(text)
    except ValueError:
        return None
