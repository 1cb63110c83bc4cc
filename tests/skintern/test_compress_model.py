"""Compressors that ask a model: nested and deterministic by surprise; LLMLingua-2 behind a clear refusal."""

from __future__ import annotations

import math
import sys
import types
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from llamafactory_ext.errors import OptionError
from llamafactory_ext.skintern.compress import words_of
from llamafactory_ext.skintern.compress_model import LLMLingua2, SelfInfo, Unranked, mark_of
from llamafactory_ext.skintern.settings import Settings, check_settings

TEXTS = (
    "1. Add the numbers.\n2. Say the sum, such as 12.",
    "Paris is the capital of France",
    "one",
    "- a\n- b",
    "知识 und `code_x`: naïve!",
    "",
    "   ",
)
SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("text", TEXTS)
def test_self_info_is_nested_and_keeps_both_ends(folder: Path, text: str) -> None:
    ranked = SelfInfo(folder).rank(text)
    assert ranked.shortened(1) == text
    assert ranked.shortened(0) == ""
    kept = [set(ranked.kept(share)) for share in SHARES]
    assert all(one <= other for one, other in pairwise(kept))
    assert [len(one) for one in kept] == [math.ceil(share * len(ranked.spans) - 1e-9) for share in SHARES]
    assert SelfInfo(folder).rank(text) == ranked
    for share in SHARES[:-1]:
        assert all(word in words_of(text) for word in words_of(ranked.shortened(share)))


def test_the_information_of_units_is_that_of_the_text(folder: Path) -> None:
    """Together the units have the loss of the text; each has that of its tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = TEXTS[1]
    compressor = SelfInfo(folder)
    tokens = compressor._tokens(text)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
    first = next(i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) if i is not None)
    with torch.no_grad():
        logits = model(input_ids=torch.cat([torch.tensor([first]), ids[:-1]])[None]).logits[0]
    expected = torch.nn.functional.cross_entropy(logits, ids, reduction="none")
    assert [nats for _, nats in tokens] == pytest.approx(expected.tolist(), abs=1e-4)
    from llamafactory_ext.skintern.compress import spans_of

    found = compressor._surprises(text, spans_of(text))
    assert sum(found) == pytest.approx(float(expected.sum()), abs=1e-3)


def test_a_text_longer_than_the_model_is_read_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamafactory_ext.skintern.compress_model._LONGEST", 8)
    ranked = SelfInfo(folder).rank("word " * 40)
    assert len(ranked.spans) == 40
    assert len(words_of(ranked.shortened(0.5))) == 20


def test_models_are_told_apart(folder: Path, tmp_path: Path) -> None:
    other = tiny.save_tiny_model(tmp_path / "other", vocab_size=400)
    assert mark_of(folder) == mark_of(folder) != mark_of(other)
    with pytest.raises(OptionError, match=r"has no config\.json"):
        mark_of(tmp_path / "none")


@pytest.mark.parametrize(
    ("compressor", "model", "named"),
    [
        ("self_info", "none", "has no config.json"),
        ("extractive", "x", "has no effect"),
        ("tools", "x", "has no effect"),
        ("llmlingua2", "", "needs the package llmlingua"),
        ("llmlingua2", "x", "needs the package llmlingua"),
        ("zip", "", "extractive, self_info, tools, llmlingua2"),
    ],
)
def test_what_is_missing_is_named(compressor: str, model: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llmlingua", None)
    monkeypatch.setattr("llamafactory_ext.skintern.compress_model.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=named):
        check_settings(Settings(shares=(1.0, 0.0), compressor=compressor, compressor_model=model))


@pytest.fixture
def lingua(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """A package in the place of llmlingua, which is not installed; returns what it was asked."""
    asked: list[tuple[str, float]] = []

    class PromptCompressor:
        def __init__(self, model_name: str, use_llmlingua2: bool, device_map: str) -> None:
            assert use_llmlingua2
            if "broken" in model_name:
                raise RuntimeError("no weights")

        def compress_prompt(self, texts: list[str], rate: float, force_tokens: list[str]) -> dict[str, Any]:
            asked.append((texts[0], rate))
            words = texts[0].split()
            return {"compressed_prompt": " ".join(words[: max(1, int(rate * len(words)))])}

    package = types.ModuleType("llmlingua")
    package.PromptCompressor = PromptCompressor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llmlingua", package)
    monkeypatch.setattr("llamafactory_ext.skintern.compress_model.find_spec", lambda name: object())
    return asked


def test_llmlingua2_is_asked_once_for_each_share(lingua: list[tuple[str, float]], folder: Path) -> None:
    compressor = LLMLingua2(folder)
    text = "one two three four"
    for _ in range(2):
        said = [Unranked(text, compressor).shortened(share) for share in (0, 0.5, 1)]
        assert said == ["", "one two", text]
    assert lingua == [(text, 0.5)]
    assert compressor.rank(" ").shortened(0.5) == ""


def test_weights_that_cannot_be_loaded_are_named(lingua: list[tuple[str, float]], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"broken cannot be loaded by llmlingua \(RuntimeError: no weights\)"):
        LLMLingua2(tmp_path / "broken").rank("one two").shortened(0.5)
    with pytest.raises(OptionError, match="needs skintern_compressor_model"):
        check_settings(Settings(shares=(1.0, 0.0), compressor="llmlingua2"))
