"""What is trained, through upstream's own processors: exactly what the model writes, in 1,000 random dialogues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import copy
from types import SimpleNamespace
from typing import Any

import pytest
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import DataArguments

from templates.dialogues import Dialogue, dialogues
from templates.tokenizers_like import PAIRS, like

DIALOGUES = dialogues(1000)
BROKEN = "\N{REPLACEMENT CHARACTER}"  # of a character cut in the middle


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def made(request: pytest.FixtureRequest) -> SimpleNamespace:
    """A template and its tokenizer; what is encoded once is not encoded again for the next test."""
    name, kind = request.param
    tokenizer = like(kind)
    template = copy(get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name)))
    encode, known = template.encode_multiturn, {}

    def encode_once(tokenizer: Any, messages: list[dict[str, str]], *arguments: Any) -> Any:
        key = (*(message["content"] for message in messages), *arguments)
        if key not in known:
            known[key] = encode(tokenizer, messages, *arguments)
        return known[key]

    template.encode_multiturn = encode_once
    return SimpleNamespace(tokenizer=tokenizer, template=template, kind=kind)


def processed(processor: type, made: SimpleNamespace, **options: Any) -> dict[str, list[Any]]:
    rows = {
        "_prompt": [dialogue.as_dicts[:-1] for dialogue in DIALOGUES],
        "_response": [dialogue.as_dicts[-1:] for dialogue in DIALOGUES],
        "_system": [dialogue.system for dialogue in DIALOGUES],
        "_tools": [dialogue.tools for dialogue in DIALOGUES],
        **{key: [None] * len(DIALOGUES) for key in ("_images", "_videos", "_audios")},
    }
    return processor(made.template, made.tokenizer, None, DataArguments(**options)).preprocess_dataset(rows)


def trained(made: SimpleNamespace, ids: list[int], labels: list[int]) -> Iterator[str]:
    """The text of each run of trained tokens."""
    eos = made.tokenizer.eos_token_id
    run: list[int] = []
    for token, label in zip([*ids, 0], [*labels, IGNORE_INDEX], strict=True):
        # A reply that ends with the opening of the next turn is trained to end the text there.
        opening = made.template.efficient_eos and label == eos
        if label != IGNORE_INDEX:
            assert opening or label == token
            run.append(label)
        if run and (opening or label == IGNORE_INDEX):
            yield made.tokenizer.decode(run)
            run = []


def spans(made: SimpleNamespace, dialogue: Dialogue) -> list[str]:
    """What the model writes in each of its turns, as its tokenizer can see it."""
    prompts = made.template.prompts
    written = []
    for message in dialogue.messages[1::2]:
        content = prompts.reply(message)
        if prompts.chat.trim:
            content = content.strip()
        if made.kind == "phi3":  # the white space behind <|assistant|> is swallowed, and a blank written in its place
            content = " " + content.lstrip()
        end = prompts.chat.end.replace("{eos}", made.tokenizer.eos_token) or made.tokenizer.eos_token
        written.append(prompts.chat.lead + content + end)
    return written


def test_whole_dialogues(made: SimpleNamespace) -> None:
    rows = processed(SupervisedDatasetProcessor, made, cutoff_len=100_000)
    assert len(rows["input_ids"]) == len(DIALOGUES)
    for dialogue, ids, labels in zip(DIALOGUES, rows["input_ids"], rows["labels"], strict=True):
        assert list(trained(made, ids, labels)) == spans(made, dialogue)


def test_truncated_dialogues(made: SimpleNamespace) -> None:
    rows = processed(SupervisedDatasetProcessor, made, cutoff_len=120)
    cut = 0
    for dialogue, ids, labels in zip(DIALOGUES, rows["input_ids"], rows["labels"], strict=True):
        assert len(ids) <= 120
        runs, expected = list(trained(made, ids, labels)), spans(made, dialogue)
        assert len(runs) <= len(expected)
        for run, span in zip(runs, expected, strict=False):
            ending = made.tokenizer.eos_token if made.template.efficient_eos else ""
            assert span.startswith(run.removesuffix(ending).rstrip(BROKEN))
        cut += runs != expected
    assert cut > 50  # and many were


def test_packed_dialogues(made: SimpleNamespace) -> None:
    rows = processed(PackedSupervisedDatasetProcessor, made, cutoff_len=4096, packing=True)
    found = Counter(
        text
        for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True)
        for text in trained(made, ids, labels)
    )
    assert found == Counter(span for dialogue in DIALOGUES for span in spans(made, dialogue))


def test_prompts_of_inference_begin_the_training_text(made: SimpleNamespace) -> None:
    for dialogue in DIALOGUES[:40]:
        arguments = (dialogue.system, dialogue.tools)
        pairs = made.template.encode_multiturn(made.tokenizer, dialogue.as_dicts, *arguments, False)
        whole = [token for pair in pairs for part in pair for token in part]
        for turn in range(1, len(dialogue.messages), 2):
            asked = [*dialogue.as_dicts[:turn], {"role": "assistant", "content": ""}]
            prompt, _ = made.template.encode_oneturn(made.tokenizer, asked, *arguments)
            assert whole[: len(prompt)] == prompt
