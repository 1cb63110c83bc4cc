"""Mixture-of-LoRA adapters as a PEFT method (CITI, arXiv:2409.13202, section 3.1)."""

from .config import MoLoraConfig
from .kernel import GateLoss
from .layer import MoLoraLinear
from .model import MoLoraModel
from .registration import register

__all__ = ["GateLoss", "MoLoraConfig", "MoLoraLinear", "MoLoraModel", "register"]
