"""Encodes one example by a template and a tokenizer exactly as upstream's supervised processor does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.processor import SupervisedDatasetProcessor
from llamafactory.data.template import TEMPLATES
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import DataArguments
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ...data.checks.audit import Encoded
from ...data.dialogues import CALL, GPT, HUMAN, OBSERVATION
from ...data.entries import Dialogue
from ...errors import DataError, OptionError

_UNCUT = 1 << 40
_ROLES = {HUMAN: "user", GPT: "assistant", OBSERVATION: "observation", CALL: "function"}


class ExampleEncoder:
    """Encodes examples, whole and cut, and counts their tokens.

    Args:
        model: folder (or cached name) with the tokenizer; no code of it is run.
        template: a name that upstream knows, ours included.
        cutoff_len: as in the YAML.
        options: more of the data options that decide what is learned (train_on_prompt, mask_history, ...).

    Raises:
        OptionError: an unknown template, no tokenizer there, or options that upstream refuses.
    """

    def __init__(self, model: str, template: str, cutoff_len: int, **options: Any) -> None:
        self.tokenizer = _tokenizer(model, template)
        try:
            self.processor = _processor(self.tokenizer, template, cutoff_len, options)
            self._whole = _processor(self.tokenizer, template, _UNCUT, options)
        except (TypeError, ValueError) as error:
            raise OptionError(f"The data options do not work: {error}") from None

    def __call__(self, dialogue: Dialogue) -> Encoded:
        """The lengths of one example.

        Raises:
            DataError: upstream cannot render it with this template.
        """
        ids, labels, whole = self.encode(dialogue)
        return Encoded(whole, len(ids), sum(label != IGNORE_INDEX for label in labels))

    def encode(self, dialogue: Dialogue) -> tuple[list[int], list[int], int]:
        """(ids, labels, number of ids without the cut) of one example.

        Raises:
            DataError: upstream cannot render it with this template.
        """
        try:
            whole, _ = _encode(self._whole, dialogue)
            ids, labels = _encode(self.processor, dialogue)
        except Exception as error:  # upstream's formatters raise whatever the data makes them stumble on
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
            raise DataError(
                f"the template cannot render it ({reason}); mend the record or use another template"
            ) from None
        return ids, labels, len(whole)


def _tokenizer(model: str, template: str) -> PreTrainedTokenizerBase:
    if template not in TEMPLATES:
        close = difflib.get_close_matches(template, TEMPLATES, n=3)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else "llamafactory-cli lists its templates in its README."
        )
        raise OptionError(f'--template "{template}" is unknown; {hint}')
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        where = "" if Path(model).is_dir() else " (no such folder)"
        raise OptionError(
            f"--model {model}{where} holds no tokenizer that loads: {str(error).splitlines()[0]} "
            "Name a folder with tokenizer files."
        ) from None


def _processor(
    tokenizer: PreTrainedTokenizerBase, template: str, cutoff_len: int, options: Mapping[str, Any]
) -> SupervisedDatasetProcessor:
    data_args = DataArguments(template=template, cutoff_len=cutoff_len, **options)
    return SupervisedDatasetProcessor(
        template=get_template_and_fix_tokenizer(tokenizer, data_args),
        tokenizer=tokenizer,
        processor=None,
        data_args=data_args,
    )


def _encode(processor: SupervisedDatasetProcessor, dialogue: Dialogue) -> tuple[list[int], list[int]]:
    """(ids, labels)."""
    messages = messages_of(dialogue)
    return processor._encode_data_example(
        prompt=messages[:-1],
        response=messages[-1:],
        system=dialogue.system,
        tools=dialogue.tools,
        images=[],
        videos=[],
        audios=[],
    )


def messages_of(dialogue: Dialogue) -> list[dict[str, str]]:
    """The turns by upstream's inner role names."""
    return [{"role": _ROLES[role], "content": text} for role, text in dialogue.turns]
