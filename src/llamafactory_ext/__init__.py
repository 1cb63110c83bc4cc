"""CITI and TL-Training for LLaMA-Factory: teach a language model to use tools and keep what it knew.

Importing the package makes two things known: the PEFT methods MOLORA and DATA and the exported
model types citi_*. Neither torch
nor PEFT nor transformers is imported for it; where they come later, they are told then.
"""

from . import _registration

__version__ = "0.1.0"

_registration.install()
