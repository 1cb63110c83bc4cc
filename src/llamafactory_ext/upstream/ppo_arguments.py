"""The options of `stage: tl_ppo`: declaration, defaults, and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .values import Rule


@dataclass
class TlPpoArguments:
    """Options of TL-Training's reinforcement learning (arXiv:2412.15495, section 3.3)."""


RULES: Final[Mapping[str, Rule]] = {}
