"""Count the floating-point operations of asking a model (SKIntern, arXiv:2409.13183, section 4.4).

The published code counts multiply-accumulates of the prompt's linear layers and calls them FLOPs; `reference_macs`
does the same. `generation_flops` counts what runs: prompt and generated tokens, linear layers and attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..checkpoint.weight_files import DamagedError, read_object
from ..errors import OptionError

_SIZES: Final = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")


@dataclass(frozen=True)
class ModelSize:
    """The sizes that decide the cost of a decoder.

    Attributes:
        linear: elements of all linear layers without the head.
        head: elements of the head, tied or not.
        layers: decoder layers.
        heads_width: heads x head width.
        kv_width: key and value heads x head width.
    """

    linear: int
    head: int
    layers: int
    heads_width: int
    kv_width: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ModelSize:
        """Read a config.json of the Llama family: gated MLP, grouped key and value heads.

        Raises:
            OptionError: a size that is missing, or experts.
        """
        numbers = {key: config.get(key) for key in (*_SIZES, "head_dim", "num_key_value_heads")}
        wrong = [
            key
            for key, value in numbers.items()
            if (value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1))
            or (value is None and key in _SIZES)
        ]
        if wrong or config.get("num_experts") or config.get("num_local_experts"):
            raise OptionError(
                "FLOPs are counted for decoders with a gated MLP and without experts; in config.json "
                f"{', '.join(wrong) or 'the experts'} {'are' if len(wrong) != 1 else 'is'} in the way."
            )
        inner = config["intermediate_size"]
        width, heads = config["hidden_size"], config["num_attention_heads"]
        head_width = config.get("head_dim") or width // heads
        kv = (config.get("num_key_value_heads") or heads) * head_width
        layer = width * (heads * head_width + 2 * kv) + heads * head_width * width + 3 * width * inner
        layers = config["num_hidden_layers"]
        return cls(layers * layer, config["vocab_size"] * width, layers, heads * head_width, kv)


def config_of(model: Path) -> dict[str, Any]:
    """Return a model's config.json.

    Raises:
        OptionError: it is missing or damaged.
    """
    path = model / "config.json"
    try:
        return read_object(path)
    except DamagedError as error:
        raise OptionError(f"{path} {error}; name the folder of a model.") from None


def generation_flops(size: ModelSize, prompt: int, generated: int) -> int:
    """Return the FLOPs of a prompt of P tokens and of G generated ones, with a cache.

    2 N (P + G - 1) + 2 V G + 4 n D (P^2 + sum of P + j over j = 1 .. G - 1): two per multiply-accumulate; attention in
    full squares, as kernels without a causal shortcut compute it; the head for the last token of the prompt alone.
    """
    _check(prompt, generated)
    steps = generated - 1
    products = prompt * prompt + steps * prompt + steps * (steps + 1) // 2
    linear = 2 * size.linear * (prompt + steps) + 2 * size.head * generated
    return linear + 4 * size.layers * size.heads_width * products


def cache_bytes(size: ModelSize, prompt: int, generated: int, bytes_per_number: int = 2) -> int:
    """Return the bytes of keys and values of P + G tokens."""
    _check(prompt, generated)
    return 2 * size.layers * size.kv_width * (prompt + generated) * bytes_per_number


def reference_macs(size: ModelSize, prompt: int) -> int:
    """Return (N + V) P: multiply-accumulates of the linear layers over the prompt, as the published code counts."""
    return (size.linear + size.head) * prompt


def training_flops(size: ModelSize, tokens: int, adapter: int = 0) -> int:
    """Return the FLOPs of training on tokens: 6 (N + V) each; with an adapter of so many elements 4 (N + V) + 6 of it.

    A frozen base needs no gradients of its weights. Attention products are left out.
    """
    whole = size.linear + size.head
    return tokens * (4 * whole + 6 * adapter if adapter else 6 * whole)


def _check(prompt: int, generated: int) -> None:
    if prompt < 1 or generated < 1:
        raise OptionError(f"a prompt of {prompt} and {generated} generated tokens: give at least 1 of each.")
