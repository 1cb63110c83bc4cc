"""Whether an architecture trains, exports and serves with CITI, found out from a model's config.json alone.

What it does: counts the linears of the model on the meta device, trains a tiny one of the same architecture for a
step, and reads the table of families. What it does not do: read weights, or need a row for the architecture.
"""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import TaskType, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from ..checkpoint.model_folder import CONFIG, DamagedError, read_object
from ..errors import CheckpointError
from ..families import Standing, standing
from ..molora import MoLoraConfig
from ..training.losses import summed_nll
from ..training.parameters import backbone_linears
from .importance import part_scores

# Sizes of the tiny model, by their names in configurations; others stay, such as switches and activations.
_SMALL: Mapping[str, int] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "hidden_size_per_layer_input": 16,
    "vocab_size_per_layer_input": 128,
    "max_position_embeddings": 256,
    "original_max_position_embeddings": 256,
    "sliding_window": 8,
}
_HEADS = ("num_attention_heads", "num_key_value_heads", "head_dim")
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_LAYERS = 8  # at most, so that each kind of layer is among them


@dataclass(frozen=True)
class Trial:
    """What a tiny model of the architecture showed.

    Attributes:
        problem: why it cannot be trained, in words; None where it can.
        vanishing: kinds of linears for which eq. 4 is 0 by construction.
    """

    problem: str | None
    vanishing: tuple[str, ...] = ()


class Architecture:
    """What the config.json of a folder says.

    Attributes:
        written: the content of config.json.
        standing: what the table of families says of it.

    Raises:
        CheckpointError: there is no such file, or it says no architecture.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / CONFIG).is_file():
            raise CheckpointError(f"{folder} has no {CONFIG}; name the folder of a model.")
        try:
            self.written = read_object(folder / CONFIG)
        except DamagedError as error:
            raise CheckpointError(f"{folder / CONFIG} {error}; get the model again.") from None
        if not isinstance(self.written.get("model_type"), str):
            raise CheckpointError(f"{folder / CONFIG} has no model_type; get the model again.")
        self.folder = folder
        self.standing: Standing = standing(self.written)

    @cached_property
    def config(self) -> PreTrainedConfig | None:
        """As transformers reads it; None where it does not know the architecture, or cannot read it."""
        try:
            found: PreTrainedConfig = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        except Exception:  # of transformers' many kinds
            return None
        return found

    @cached_property
    def model(self) -> nn.Module | None:
        """On the meta device; None where no model that writes text can be made."""
        return self._made[0]

    @cached_property
    def _made(self) -> tuple[nn.Module | None, str]:
        """The model, or why there is none."""
        kind = self.written["model_type"]
        if self.config is None or type(self.config) not in AutoModelForCausalLM._model_mapping:
            return None, f"transformers has no causal language model for {kind}; name one"
        try:
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(self.config, trust_remote_code=False), ""
        except Exception as error:  # of the model's own code
            text = " ".join(str(error).split())[:160]
            return None, f"no model can be made by its config.json ({type(error).__name__}: {text}); get it again"

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be made of it, in words with the next step; None where something can."""
        kind = self.written["model_type"]
        if self.written.get("auto_map") and self.config is None:
            return f"{kind} brings code of its own; run it with trust_remote_code: true, which was not tried here"
        if self.config is None:
            return f"this transformers cannot read a configuration of {kind}; install a newer one, or get it again"
        if self.model is None:
            return self._made[1]
        if not self.kinds:
            kind = type(self.model).__name__
            return f"{kind} has no linear modules (torch.nn.Linear) beside its output head; name another model"
        return None

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many linears of each name the model has; its output head is none of them."""
        found: dict[str, int] = {}
        for name in backbone_linears(self.model) if self.model is not None else ():
            leaf = name.rpartition(".")[2]
            found[leaf] = found.get(leaf, 0) + 1
        return found

    @cached_property
    def experts(self) -> dict[str, int]:
        """Weights of several experts in one tensor, which are no linears: the module's name to their number."""
        found: dict[str, int] = {}
        for name, weight in self.model.named_parameters() if self.model is not None else ():
            if weight.dim() > 2 and "conv" not in name:
                owner = name.split(".")[-2]
                found[owner] = found.get(owner, 0) + weight.numel()
        return found

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return sum(weight.numel() for weight in self.model.parameters()) if self.model is not None else 0

    @cached_property
    def trial(self) -> Trial:
        """A step of a tiny model with random weights."""
        assert self.config is not None
        said = ""
        for kept in ((), _HEADS):  # some architectures make heads of other numbers too
            try:
                return _trained(shrunk(self.config, kept))
            except Exception as error:  # of the architecture's own code
                said = said or f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        return Trial(f"a tiny model of it could not be trained ({said})")

    def row(self) -> str:
        """Return the row for `families.py` that is worth trying, as source text."""
        assert self.config is not None
        assert self.model is not None
        name = type(self.model).__name__
        fields = {
            "model_type": self.written["model_type"],
            "models": name.removesuffix("ForCausalLM"),
            "config": type(self.config).__name__,
            "model": name,
            "vllm": _of_vllm(self.written["model_type"], name),
            "linears": tuple(self.kinds),
            "structure": self._structure(),
            "experts": tuple(self.experts),
        }
        lines = [f"    {field}={_source(value)}," for field, value in fields.items() if value]
        return "\n".join(["Family(", *lines, "),"])

    def _structure(self) -> tuple[str, ...]:
        kinds, hidden = self.kinds, {*self.trial.vanishing}
        layers = {*(getattr(self.config, "layer_types", None) or ())}
        traits = {
            "fused qkv": any("qkv" in kind for kind in kinds),
            "fused gate_up": "gate_up_proj" in kinds,
            "q/k norm": bool({"q_proj", "k_proj"} & hidden),
            "post-norm": bool({"o_proj", "down_proj"} & hidden),
            "mixture of experts": bool(self.experts),
            "hybrid": "linear_attention" in layers,
            "sliding window": "sliding_attention" in layers,
        }
        return tuple(name for name, there in traits.items() if there)


def shrunk(config: PreTrainedConfig, kept: Sequence[str] = ()) -> PreTrainedConfig:
    """Return the configuration of a tiny model of the same architecture, with a layer of each kind.

    Args:
        config: of the large one.
        kept: sizes to leave as they are.
    """
    small = copy.deepcopy(config)
    for name, size in _SMALL.items():
        if name not in kept and isinstance(found := getattr(small, name, None), int) and found > size:
            setattr(small, name, size)
    for name, token in _TOKENS.items():
        if getattr(small, name, None) is not None:
            setattr(small, name, token)
    heads, shared = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if heads is not None and heads == shared:
        small.num_key_value_heads = small.num_attention_heads
    kinds: Sequence[str] = getattr(config, "layer_types", None) or ()
    count = next((n for n in range(2, _LAYERS + 1) if {*kinds[:n]} == {*kinds}), _LAYERS)
    small.num_hidden_layers = min(count, config.num_hidden_layers)
    if kinds:
        small.layer_types = list(kinds[: small.num_hidden_layers])
    for listed in ("no_rope_layers", "mlp_layer_types"):
        if isinstance(found := getattr(small, listed, None), list):
            setattr(small, listed, found[: small.num_hidden_layers])
    small.rope_parameters = _plain_rope(getattr(small, "rope_parameters", None))
    small.initializer_range = 0.2
    small._experts_implementation = "eager"
    return small


def _plain_rope(rope: Any) -> Any:
    """Rotary positions without stretching, whose tables have the size of the large model's heads."""
    if not isinstance(rope, Mapping):
        return rope
    if any(isinstance(part, Mapping) for part in rope.values()):
        return {name: _plain_rope(part) for name, part in rope.items()}
    kept = {name: value for name, value in rope.items() if name in ("rope_theta", "partial_rotary_factor")}
    return {"rope_type": "default", **kept}


def _trained(config: PreTrainedConfig) -> Trial:
    """Score a random tiny model by eq. 4, and train MOLoRA on all of its linears for a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False).float().eval()
        for name, value in model.named_parameters():
            if value.dim() == 1 and "norm" in name:
                nn.init.ones_(value)
        ids = torch.randint(3, config.vocab_size, (8, 24))
        batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
        found = part_scores(model, [batch])
        names = list(found.sums)
        molora = MoLoraConfig(task_type=TaskType.CAUSAL_LM, target_modules=names, num_experts=2, r=2)
        adapted: Any = get_peft_model(model, molora)
        summed_nll(adapted(input_ids=ids, use_cache=False).logits, ids).backward()
    moved = [weight.grad for weight in adapted.parameters() if weight.requires_grad]
    if not all(grad is not None and bool(grad.isfinite().all()) for grad in moved):
        return Trial("a tiny model of it trains with gradients that are missing or not finite")
    kinds = dict.fromkeys(name.rpartition(".")[2] for name in found.vanishing)
    return Trial(None, tuple(kinds))


def _of_vllm(model_type: str, model: str) -> str:
    """Return where vLLM has a class of the name, as the table of families says it.

    Empty where it has none or is absent.
    """
    spec = importlib.util.find_spec("vllm")
    for root in (spec.submodule_search_locations if spec is not None else None) or ():
        file = Path(root) / "model_executor" / "models" / f"{model_type}.py"
        if file.is_file() and re.search(rf"^class {model}\b", file.read_text("utf-8"), re.MULTILINE):
            return f"{model_type}:{model}"
    return ""


def _source(value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    inside = ", ".join(f'"{part}"' for part in value)
    return f"({inside},)" if len(value) == 1 else f"({inside})"
