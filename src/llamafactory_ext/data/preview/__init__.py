"""How a run reads an example: every token, its weight and its mark."""

from .examples import preview
from .request import Request

__all__ = ["Request", "preview"]
