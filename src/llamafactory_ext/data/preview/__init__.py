"""How a run reads an example: every token, its weight and its mark."""

from .examples import Request, preview

__all__ = ["Request", "preview"]
