"""Environments in which a policy acts over several turns: their protocol, how they are asked, and those shipped."""

from .protocol import ENDS, Action, Environment, Step

__all__ = ["ENDS", "Action", "Environment", "Step"]
