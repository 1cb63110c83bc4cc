"""Answers by transformers: any model, exported ones, adapters, in batches padded on the left."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ...errors import CheckpointError, ExtError, OptionError
from ...templates.tokens import tokenizer_problem
from ...training.devices import default_device
from .identity import adapter_base, check_files, files_hash, model_folder
from .options import InferOptions
from .prompts import Prompt, TextPrompts, template_for_tokens

_DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_tokenizer(folder: Path, base: Path | None = None) -> Any:
    """Return the tokenizer of a model's folder, or of its base's where an adapter has none.

    Raises:
        CheckpointError: neither has one.
    """
    has_own = base is None or any(folder.glob("tokenizer*"))
    place = folder if has_own or base is None else base
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds
        raise CheckpointError(
            f"{place}: no tokenizer can be loaded ({_first_line(error)}); copy its files there."
        ) from None
    if problem := tokenizer_problem(tokenizer):
        raise CheckpointError(f"{place}: no tokenizer can be loaded; {problem}.")
    return tokenizer


class HfBackend:
    """One process with one model.

    Args:
        options: of the run.

    Raises:
        OptionError: no such folder, template or dtype.
        CheckpointError: a model that cannot be loaded.
    """

    def __init__(self, options: InferOptions) -> None:
        if options.dtype not in _DTYPES:
            raise OptionError(f"--dtype is {options.dtype!r}; choose one of {', '.join(_DTYPES)}")
        template = template_for_tokens(options.template)
        folder = model_folder(options.model)
        named = adapter_base(folder)
        if named == "" and not options.base:
            raise OptionError(f"{folder} does not name its base model; give --base DIR")
        self._base = model_folder(options.base or named) if named is not None else None
        if options.base and named is None:
            raise OptionError(f"--base was given, but {folder} holds a whole model; drop --base")
        self._folder, self._options = folder, options
        for part in dict.fromkeys(filter(None, (folder, self._base))):
            check_files(part)
        self._tokenizer = load_tokenizer(folder, self._base)
        self._model = self._load()
        ends = self._model.generation_config.eos_token_id if self._model.generation_config else None
        ids = ends if isinstance(ends, list) else [ends]
        self._texts = TextPrompts(
            self._tokenizer, template, str(folder), [token for token in ids if token is not None]
        )
        context = getattr(self._model.config, "max_position_embeddings", None)
        self._context = context if isinstance(context, int) and context > 0 else 1 << 30

    def identity(self) -> dict[str, Any]:
        """Return what of the model answers depend on."""
        hashes = {"model_files": files_hash(self._folder)}
        if self._base is not None:
            hashes["base_files"] = files_hash(self._base)
        return hashes | {"dtype": str(self._model.dtype).removeprefix("torch.")}

    def prompt(self, question: Any) -> Prompt:
        """See `TextPrompts.prompt`."""
        return self._texts.prompt(question)

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, str | None]]:
        """Return each prompt with its answer, batch by batch; the longest come first, so that memory fails at once.

        None stands for a prompt that leaves no room for an answer in the model's context.
        """
        encoded = sorted(((self._texts.encode(prompt), prompt) for prompt in prompts), key=lambda pair: -len(pair[0]))
        fitting = []
        for ids, prompt in encoded:
            if len(ids) < self._context:
                fitting.append((ids, prompt))
            else:
                yield prompt, None
        size = self._options.batch_size
        for start in range(0, len(fitting), size):
            batch = fitting[start : start + size]
            try:
                replies = self._generate([ids for ids, _ in batch])
            except torch.OutOfMemoryError:
                longest = max(len(ids) for ids, _ in batch)
                raise OptionError(
                    f"{len(batch)} prompts of up to {longest} tokens do not fit the memory; lower --batch_size"
                ) from None
            for (_, prompt), reply in zip(batch, replies, strict=True):
                yield prompt, self._texts.decode(reply)

    @torch.inference_mode()
    def features(self, prompts: Sequence[Prompt]) -> Iterator[torch.Tensor]:
        """Return the mean embedding of each prompt's tokens, prompt by prompt: (D,), float64."""
        embed = self._model.get_input_embeddings()
        for prompt in prompts:
            yield embed(torch.tensor(self._texts.encode(prompt), device=self._model.device)).double().mean(0).cpu()

    def use(self, options: InferOptions) -> None:
        """Answer further questions with other limits; the model stays."""
        self._options = options

    def close(self) -> None:
        """Keep nothing: it would not outlive the process."""

    @torch.inference_mode()
    def _generate(self, batch: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the new token ids of each prompt."""
        longest = max(map(len, batch))
        pad = self._tokenizer.pad_token_id
        if pad is None:
            pad = self._texts.stop_ids[0] if self._texts.stop_ids else 0
        device = self._model.device
        ids_BT = torch.tensor([[pad] * (longest - len(ids)) + list(ids) for ids in batch], device=device)
        mask_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in batch], device=device)
        options = self._options
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if options.temperature:
            sampling = {"do_sample": True, "temperature": options.temperature, "top_p": options.top_p, "top_k": 0}
            torch.manual_seed(options.seed)
        output = self._model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=min(options.max_new_tokens, self._context - longest),
            eos_token_id=list(self._texts.stop_ids) or None,
            pad_token_id=pad,
            **sampling,
        )
        new: list[list[int]] = output[:, longest:].tolist()
        return new

    def _load(self) -> Any:
        try:
            place = self._base or self._folder
            model, told = AutoModelForCausalLM.from_pretrained(
                place, dtype=self._options.dtype, trust_remote_code=False, output_loading_info=True
            )
            if missing := sorted(told["missing_keys"]):
                raise CheckpointError(
                    f"{place} lacks {len(missing)} tensors of its model, {missing[0]} for example, which would be "
                    "random numbers; name a whole model, or get this one again."
                )
            if self._base is not None:
                model = _adapted(model, self._folder)
        except ExtError:
            raise
        except Exception as error:  # transformers and PEFT raise many kinds
            raise CheckpointError(
                f"{self._base or self._folder}: the model cannot be loaded ({_first_line(error)}); check that the "
                "folder is whole, and `llamafactory-ext doctor`."
            ) from None
        return model.eval().to(default_device())


def _adapted(model: Any, folder: Path) -> Any:
    from peft import PeftModel

    from ...checkpoint.base import check_loaded

    check_loaded(model, folder)
    with warnings.catch_warnings():
        # PEFT goes on with fresh numbers in the place of a tensor that is not there.
        warnings.filterwarnings("error", message="Found missing adapter keys")
        return PeftModel.from_pretrained(model, str(folder))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
