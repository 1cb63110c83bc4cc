"""Exported CITI models: self-contained directories of the types citi_llama, citi_mistral and citi_phi3."""

from .modeling import MODEL_TYPES, register

__all__ = ["MODEL_TYPES", "register"]
