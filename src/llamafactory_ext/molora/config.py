"""The configuration of a Mixture-of-LoRA adapter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft import PeftConfig
from peft.utils import PeftType

from ..errors import OptionError

LOADING = """
## Loading this adapter

MOLoRA is known to PEFT once `llamafactory_ext` is imported:

```python
import llamafactory_ext
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "path/to/this/folder")
```
"""


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


# Test of a value, what it must be, and the fields that it is for.
CHECKS: tuple[tuple[Callable[[Any], bool], str, tuple[str, ...]], ...] = (
    (
        lambda value: value is None or isinstance(value, str) or _is_names(value),
        "a list of names or one pattern as a string",
        ("target_modules", "exclude_modules"),
    ),
    (lambda value: value is None or _is_names(value), "a list of names", ("modules_to_save",)),
    (_is_whole, "a whole number of at least 1", ("num_experts", "r")),
    (_is_positive, "a number greater than 0", ("alpha",)),
    (lambda value: isinstance(value, bool), "True or False", ("neutral_gate", "init_weights", "inference_mode")),
)


@dataclass
class MoLoraConfig(PeftConfig):
    """Settings of MOLoRA (CITI, arXiv:2409.13202, section 3.1; values of its appendix A.3 as defaults).

    Args:
        target_modules: linears that carry an adapter, as full module names of the base model. PEFT's suffixes
            (`["q_proj"]`) and its pattern as one string work as well; `"all-linear"` is replaced by what it found.
        exclude_modules: linears that never carry one.
        num_experts: N, LoRA experts of each adapter.
        neutral_gate: the router has N + 1 outputs and output 0 drives no expert. False: N outputs, one per expert
            (the ablation without router loss, section 4.6: "without the additional neuron").
        r: rank of each expert.
        alpha: the experts' outputs are scaled by alpha / r.
        modules_to_save: backbone linears tuned in full (the UCO phase). The adapter stores their tuned copies;
            `disable_adapter()` brings the untouched originals back.
        init_weights: False fills B with noise instead of zeros, for tests that need an adapter that acts.
    """

    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = field(default=None)
    num_experts: int = 4
    neutral_gate: bool = True
    r: int = 8
    alpha: float = 2.0
    modules_to_save: list[str] | None = field(default=None)
    init_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.MOLORA  # type: ignore[attr-defined]  # added by registration.py
        for name in ("target_modules", "exclude_modules", "modules_to_save"):
            value = getattr(self, name)
            if isinstance(value, (set, tuple)):
                setattr(self, name, sorted(value))
        problems = [
            f"{name}={getattr(self, name)!r} must be {wanted}"
            for fits, wanted, names in CHECKS
            for name in names
            if not fits(getattr(self, name))
        ]
        if problems:
            raise OptionError("MoLoraConfig: " + "; ".join(problems) + ".")
        targets = self.target_modules if isinstance(self.target_modules, list) else []
        if both := sorted({*targets} & {*(self.modules_to_save or [])}):
            raise OptionError(
                f"MoLoraConfig: {both} stand in target_modules and in modules_to_save; name each in one of them."
            )

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write the configuration, and into PEFT's model card beside it the import that loading needs."""
        super().save_pretrained(save_directory, **kwargs)
        folder = Path(save_directory)
        for card in (folder / "README.md", folder.parent / "README.md"):  # a named adapter has a folder of its own
            if card.is_file() and "library_name: peft" in (text := card.read_text("utf-8")):
                if "import llamafactory_ext" not in text:
                    card.write_text(text.rstrip() + "\n" + LOADING, "utf-8")
                break

    @property
    def scaling(self) -> float:
        """Alpha / r."""
        return self.alpha / self.r
