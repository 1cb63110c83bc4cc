"""MOLoRA as a PEFT tuner: `peft.get_peft_model(model, MoLoraConfig(...))`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.constants import INCLUDE_LINEAR_LAYERS_SHORTHAND
from torch import nn

from ..errors import CheckpointError, OptionError
from .config import MoLoraConfig
from .kernel import GateLoss, Kernel, triton_problem
from .layer import UNMERGEABLE, MoLoraLinear
from .targets import check_targets


class MoLoraModel(BaseTuner):
    """Puts a `MoLoraLinear` in place of every targeted linear; all else of the base model stays as it is."""

    prefix: str = "molora_"
    tuner_layer_cls = MoLoraLinear
    target_module_mapping: ClassVar[
        dict[str, list[str]]
    ] = {}  # CITI chooses by importance: there is no default per model

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        config = self.peft_config[adapter_name]
        names = config.target_modules
        if names is None:
            raise OptionError("MoLoraConfig.target_modules is not set: name the linears that shall carry an adapter.")
        earlier = len(self.targeted_module_names)
        if not check_targets(model, config) and earlier:  # PEFT says so for a first adapter only
            raise OptionError(f"target_modules={names!r} of adapter {adapter_name} are not found in the base model.")
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        if isinstance(names, str) and names.lower() == INCLUDE_LINEAR_LAYERS_SHORTHAND:
            names = self.targeted_module_names[earlier:]  # for a model with another head the word means other linears
        config.target_modules = names  # PEFT shortens long lists; the checkpoint keeps the full names
        for name, layer in model.named_modules():
            if isinstance(layer, MoLoraLinear):
                layer.layer_name = name

    def set_gate_loss(self, gate_loss: GateLoss | None) -> None:
        """Let `gate_loss` see and train every router of this model; None ends it."""
        for layer in self.molora_layers().values():
            layer.gate_loss = gate_loss

    def set_kernel(self, kernel: Kernel) -> None:
        """Set what every adapter of this model computes with, all but the matrix products.

        Args:
            kernel: `torch`, or `triton`: GPU kernels that each take the place of about ten small ones.

        Raises:
            OptionError: there is no Triton here, or no GPU that it could use.
        """
        if kernel == "triton" and (problem := triton_problem()):
            raise OptionError(f"Kernel triton cannot be used, as {problem}; set citi_kernel: torch.")
        for layer in self.molora_layers().values():
            layer.kernel = kernel

    def leave_to_eager(self) -> None:
        """Keep the adapters out of the graphs of torch.compile: they write in place and call a loss on their gates."""
        for layer in self.molora_layers().values():
            if "forward" not in vars(layer):
                layer.forward = torch.compiler.disable(layer.forward)  # type: ignore[method-assign]

    def molora_layers(self) -> dict[str, MoLoraLinear]:
        """Return the adapted linears by the name they have in the base model, in the model's order."""
        return {name: module for name, module in self.model.named_modules() if isinstance(module, MoLoraLinear)}

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a sum of adapters is no adapter, as each has its own gate.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "MOLoRA adapters cannot be combined by weights, as the gate of each depends on the input; make several "
            "act at once with `model.base_model.set_adapter([...])`."
        )

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Refuse what PEFT would otherwise ignore: an adapter of its own for each row of a batch."""
        if kwargs.get("adapter_names") is not None:
            raise OptionError(
                "adapter_names is not supported by MOLoRA, whose adapters act on whole batches; call the model once "
                "for each adapter, after `model.set_adapter(name)`."
            )
        yield

    def _check_merge_allowed(self) -> None:
        """Refuse a merge before PEFT has unwrapped or changed anything."""
        raise CheckpointError(UNMERGEABLE)

    def _create_and_replace(
        self,
        peft_config: MoLoraConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "num_experts": peft_config.num_experts,
            "neutral_gate": peft_config.neutral_gate,
            "r": peft_config.r,
            "alpha": peft_config.alpha,
            "init_weights": peft_config.init_weights,
        }
        if isinstance(target, MoLoraLinear):
            target.update_layer(adapter_name, **settings)
            return
        layer = MoLoraLinear(target, adapter_name, **settings)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)
