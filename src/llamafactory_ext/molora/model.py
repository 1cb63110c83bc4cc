"""MOLoRA as a PEFT tuner: `peft.get_peft_model(model, MoLoraConfig(...))`."""

from __future__ import annotations

from typing import Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from ..errors import OptionError
from .config import MoLoraConfig
from .kernel import GateLoss, Kernel, triton_problem
from .layer import MoLoraLinear


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
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        config.target_modules = names  # PEFT shortens long lists; the checkpoint keeps the full names
        for name, layer in model.named_modules():
            if isinstance(layer, MoLoraLinear):
                layer.layer_name = name

    def set_gate_loss(self, gate_loss: GateLoss | None) -> None:
        """Lets `gate_loss` see and train every router of this model; None ends it."""
        for layer in self.molora_layers().values():
            layer.gate_loss = gate_loss

    def set_kernel(self, kernel: Kernel) -> None:
        """What every adapter of this model computes with, all but the matrix products.

        Args:
            kernel: `torch`, or `triton`: GPU kernels that each take the place of about ten small ones.

        Raises:
            OptionError: there is no Triton here, or no GPU that it could use.
        """
        if kernel == "triton" and (problem := triton_problem()):
            raise OptionError(f"Kernel triton cannot be used, as {problem}; set citi_kernel: torch.")
        for layer in self.molora_layers().values():
            layer.kernel = kernel

    def molora_layers(self) -> dict[str, MoLoraLinear]:
        """The adapted linears by the name they have in the base model, in the model's order."""
        return {name: module for name, module in self.model.named_modules() if isinstance(module, MoLoraLinear)}

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
        if not isinstance(target, nn.Linear):
            raise OptionError(
                f"target_modules names {current_key}, a {type(target).__name__}. MOLoRA adapts linear layers only; "
                "take it out of the list."
            )
        layer = MoLoraLinear(target, adapter_name, **settings)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)
