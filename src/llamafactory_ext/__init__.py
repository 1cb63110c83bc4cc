"""Methods for LLaMA-Factory that teach a language model to use tools and keep what it knew (methods.py).

Importing the package makes two things known: our PEFT methods and the exported model types. Neither torch
nor PEFT nor transformers is imported for it; where they come later, they are told then.
"""

from . import _registration

__version__ = "0.1.0"

_registration.install()
