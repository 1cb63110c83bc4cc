"""CITI and TL-Training for LLaMA-Factory: teach a language model to use tools and keep what it knew.

Importing the package makes two things known: the PEFT method MOLORA and the exported model types citi_*.
"""

from .molora import register as _register_molora
from .serving import register as _register_exported

__version__ = "0.1.0"

_register_molora()
_register_exported()
