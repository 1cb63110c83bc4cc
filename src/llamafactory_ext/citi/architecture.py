"""Whether an architecture trains, exports and serves with CITI, found out from a model's config.json alone.

What it does: counts the linears of the model on the meta device, has a tiny one trained, and reads the table of
families. What it does not do: read weights, or need a row for the architecture.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from ..checkpoint.model_folder import ADAPTER_CONFIG, CONFIG, odd_numbers
from ..checkpoint.weight_files import DamagedError, read_object
from ..errors import CheckpointError
from ..families import Standing, standing
from ..training.parameters import component_linears, expert_tensors
from ..training.skeleton import is_trainable, skeleton
from .trial import Trial, trial_of

NAME_ANOTHER = "name a causal language model"


class Architecture:
    """What the config.json of a folder says.

    Attributes:
        written: the content of config.json.

    Raises:
        CheckpointError: there is no such file, or it says no architecture.
    """

    def __init__(self, folder: Path) -> None:
        if (problem := _no_model(folder)) is not None:
            raise CheckpointError(f"{problem}.")
        try:
            self.written = read_object(folder / CONFIG)
        except DamagedError as error:
            raise CheckpointError(f"{folder / CONFIG} {error}; get the model again.") from None
        if not isinstance(self.written.get("model_type"), str):
            raise CheckpointError(f"{folder / CONFIG} has no model_type; get the model again.")
        self.folder = folder
        self._unread = ""

    @cached_property
    def config(self) -> PreTrainedConfig | None:
        """As transformers reads it; None where it does not know the architecture, or cannot read it."""
        try:
            found: PreTrainedConfig = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        except Exception as error:  # of transformers' many kinds
            self._unread = " ".join(str(error).split())[:160]
            return None
        return found

    @cached_property
    def standing(self) -> Standing:
        """What the table of families says of it."""
        return standing(self.written | (self.config.to_dict() if self.config is not None else {}))

    @cached_property
    def model(self) -> nn.Module | None:
        """On the meta device; None where no model that writes text can be made."""
        return self._made[0]

    @cached_property
    def _made(self) -> tuple[nn.Module | None, str]:
        """The model, or why there is none."""
        kind = self.written["model_type"]
        if self.config is None or not is_trainable(self.config, trusted=False):
            return None, f"transformers has no causal language model for {kind}; {NAME_ANOTHER}"
        try:
            return skeleton(self.config), ""
        except Exception as error:  # of the model's own code
            text = " ".join(str(error).split())[:160]
            return None, f"no model can be made by its config.json ({type(error).__name__}: {text}); get it again"

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be made of it, in words with the next step; None where something can."""
        kind = self.written["model_type"]
        if odd := odd_numbers(self.folder, self.written):
            return odd[0]
        if isinstance(self.written.get("auto_map"), Mapping) and self.config is None:
            return f"{kind} brings code of its own; run it with trust_remote_code: true, which was not tried here"
        if self.config is None:
            return (
                f"this transformers cannot read a configuration of {kind} ({self._unread}); install a newer one, or "
                "get the model again"
            )
        if self.config.is_encoder_decoder:
            return f"{kind} has an encoder of its own for the prompt, which no run here feeds; {NAME_ANOTHER}"
        if self.model is None:
            return self._made[1]
        if not self.kinds:
            kind = type(self.model).__name__
            return f"{kind} has no linear modules (torch.nn.Linear) beside its output head; name another model"
        return None

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many components of each name the model has: linears but for its output head and routers of experts."""
        found: dict[str, int] = {}
        for name in component_linears(self.model) if self.model is not None else ():
            leaf = name.rpartition(".")[2]
            found[leaf] = found.get(leaf, 0) + 1
        return found

    @cached_property
    def experts(self) -> dict[str, int]:
        """Weights of several experts in one tensor, which are no linears: the module's name to their number."""
        found: dict[str, int] = {}
        for name, count in expert_tensors(self.model).items() if self.model is not None else ():
            owner = name.split(".")[-2]
            found[owner] = found.get(owner, 0) + count
        return found

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return sum(weight.numel() for weight in self.model.parameters()) if self.model is not None else 0

    @property
    def trial(self) -> Trial:
        """A step of a tiny model with random weights."""
        assert self.config is not None
        return trial_of(self.config)

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


def _no_model(folder: Path) -> str | None:
    """Say why a path is no folder of a model; None where it is."""
    if folder.is_file():
        return f"{folder} is a file; name the folder that holds the model's {folder.name} and {CONFIG}"
    if not folder.is_dir():
        fetch = f"fetch a model of the hub first (hf download {folder}) and name its folder"
        return f"there is no folder {folder}; correct the path, or {fetch}"
    if (folder / CONFIG).is_file():
        return None
    if (folder / ADAPTER_CONFIG).is_file():
        return f"{folder} is an adapter, not a model; name the folder of its base"
    return f"{folder} has no {CONFIG}; name the folder of a model"


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
