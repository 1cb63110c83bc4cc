"""Shorten knowledge by a model: by what surprises it, or with LLMLingua-2 (arXiv:2403.12968).

`SelfInfo` keeps the units that the model finds least likely from what stands before them (arXiv:2304.12102); one
forward pass per text, nested like the other compressors. LLMLingua-2 is a package of its own and is not nested.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from ..errors import OptionError
from .compress import Ranked, check_share, ranked, spans_of

VERSION: Final = 1  # part of the hash of built data
NEEDING_MODEL: Final = ("self_info", "llmlingua2")
_LONGEST: Final = 2048  # tokens at once, where the model's configuration does not say
_HEAD: Final = 1 << 20


class Shortened(Protocol):
    """A text that can be shortened to any share."""

    def shortened(self, share: float) -> str:
        """Return the text at a share: the text itself at 1, nothing at 0."""


class Shortener(Protocol):
    """Prepares texts for shortening."""

    def rank(self, text: str) -> Shortened:
        """Return a text that can be shortened."""


@dataclass(frozen=True)
class Unranked:
    """A text that is ranked when a share between nothing and all of it is asked for."""

    text: str
    shortener: Shortener

    def shortened(self, share: float) -> str:
        if check_share(share) in (0, 1):
            return self.text if share == 1 else ""
        return self.shortener.rank(self.text).shortened(share)


def mark_of(folder: Path) -> str:
    """Return a hash that tells a model's folder from others: names and sizes of its files, and how they begin.

    Raises:
        OptionError: it is no folder of a model.
    """
    if not (folder / "config.json").is_file():
        raise OptionError(
            f"skintern_compressor_model={folder} has no config.json; name the local folder of a model with tokenizer."
        )
    digest = hashlib.sha256()
    for path in sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors", ".bin")):
        with path.open("rb") as file:
            digest.update(f"{path.name} {path.stat().st_size} ".encode() + file.read(_HEAD))
    return digest.hexdigest()


class SelfInfo:
    """Ranks units by -log p(unit | what stands before it).

    Args:
        folder: of the model and its tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Ranked] = {}

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(self._folder), trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(str(self._folder), dtype="float32", trust_remote_code=False)
        except (OSError, ValueError) as error:
            line = str(error).splitlines()[0]
            raise OptionError(
                f"skintern_compressor_model={self._folder} cannot be loaded ({line}); name a causal model's folder."
            ) from None
        if not tokenizer.is_fast:
            raise OptionError(
                f"skintern_compressor_model={self._folder}: its tokenizer does not say where tokens stand; name a "
                "model with a fast tokenizer (tokenizer.json)."
            )
        return model.eval(), tokenizer

    def rank(self, text: str) -> Ranked:
        """Return the units of a text, the least expected first."""
        if text not in self._known:
            spans = spans_of(text)
            self._known[text] = ranked(text, spans, self._surprises(text, spans))
        return self._known[text]

    def _surprises(self, text: str, spans: Sequence[tuple[int, int]]) -> list[float]:
        """Return the information of each unit in nats: the sum over the tokens that begin in it."""
        starts = [start for start, _ in spans]
        found = [0.0] * len(spans)
        for (start, end), nats in self._tokens(text):
            # Tokens of many vocabularies begin with the blank in front of a word.
            inside = start + (len(text[start:end]) - len(text[start:end].lstrip()))
            unit = bisect_right(starts, inside) - 1
            if unit >= 0:
                found[unit] += nats
        return [round(nats, 6) for nats in found]

    def _tokens(self, text: str) -> list[tuple[tuple[int, int], float]]:
        """Return where each token stands, and its -log p; the first of a piece has what the piece before ends in."""
        import torch

        model, tokenizer = self._parts
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        first = next(
            (
                one
                for one in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
                if one is not None
            ),
            0,
        )
        most = min(int(getattr(model.config, "max_position_embeddings", None) or _LONGEST), _LONGEST)
        found = []
        for start in range(0, len(ids), most - 1):
            piece = ids[start : start + most - 1]
            before = first if start == 0 else ids[start - 1]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[before, *piece[:-1]]])).logits[0].float()
            nats = -torch.log_softmax(logits, -1).gather(1, torch.tensor(piece)[:, None]).squeeze(1)
            found += list(zip(offsets[start : start + most - 1], nats.tolist(), strict=True))
        return found


class _Lingua:
    """A text that LLMLingua-2 shortens, each share once."""

    def __init__(self, text: str, press: Any) -> None:
        self._text, self._press = text, press
        self._known: dict[float, str] = {}

    def shortened(self, share: float) -> str:
        if not self._text.strip():
            return ""
        if share not in self._known:
            self._known[share] = self._press(self._text, share)
        return self._known[share]


class LLMLingua2:
    """The package llmlingua with local weights of LLMLingua-2.

    Args:
        folder: of the weights.

    Raises:
        OptionError: the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_installed()
        self._folder = folder
        self._known: dict[str, _Lingua] = {}

    @cached_property
    def _compressor(self) -> Any:
        make = import_module("llmlingua").PromptCompressor
        try:
            return make(model_name=str(self._folder), use_llmlingua2=True, device_map="cpu")
        except Exception as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            raise OptionError(
                f"skintern_compressor_model={self._folder} cannot be loaded by llmlingua ({line}); name the local "
                "folder of LLMLingua-2's weights."
            ) from None

    def rank(self, text: str) -> _Lingua:
        """Return a text that can be shortened; every share of it is asked for once."""
        return self._known.setdefault(text, _Lingua(text, self._press))

    def _press(self, text: str, share: float) -> str:
        return str(self._compressor.compress_prompt([text], rate=share, force_tokens=["\n"])["compressed_prompt"])


def check_installed() -> None:
    """Make sure that LLMLingua-2 can be imported.

    Raises:
        OptionError: it cannot.
    """
    if find_spec("llmlingua") is None:
        raise OptionError(
            "skintern_compressor: llmlingua2 needs the package llmlingua; run `pip install llmlingua`, and name the "
            "local folder of its weights in skintern_compressor_model. extractive needs neither."
        )


def shortener_of(compressor: str, folder: Path) -> Shortener:
    """Return what shortens texts by a model.

    Raises:
        OptionError: the package or the folder is missing.
    """
    if compressor == "llmlingua2":
        return LLMLingua2(folder)
    return SelfInfo(folder)
