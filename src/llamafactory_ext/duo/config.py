"""The configuration of DATA's adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft import PeftConfig
from peft.utils import PeftType

from ..errors import OptionError

GATES = ("token", "prefix", "reference", "none")
INITS = ("kaiming", "reference")
LOADING = """
## Loading this adapter

DATA is known to PEFT once `llamafactory_ext` is imported:

```python
import llamafactory_ext
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "path/to/this/folder")
```
"""


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


# Test of a value, what it must be, and the fields that it is for.
CHECKS: tuple[tuple[Callable[[Any], bool], str, tuple[str, ...]], ...] = (
    (
        lambda value: value is None or isinstance(value, str) or _is_names(value),
        "a list of names or one pattern as a string",
        ("target_modules", "exclude_modules"),
    ),
    (lambda value: value is None or _is_names(value), "a list of names", ("modules_to_save",)),
    (
        lambda value: _is_names(value) and bool(value) and len(set(value)) == len(value),
        "a list of at least one name, each of them once",
        ("tasks",),
    ),
    (_is_whole, "a whole number of at least 1", ("low_rank", "high_rank", "components", "layers_per_gate")),
    (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number", ("seed",)),
    (lambda value: value in GATES, f"one of {', '.join(GATES)}", ("gate",)),
    (lambda value: value in INITS, f"one of {', '.join(INITS)}", ("init",)),
    (lambda value: isinstance(value, bool), "True or False", ("init_weights", "inference_mode")),
)


@dataclass
class DataAdapterConfig(PeftConfig):
    """Settings of DATA's adapter (arXiv:2502.11482; defaults are those of its released code where it has one).

    Args:
        target_modules: linears of the decoder layers that carry an adapter, by full names, suffixes or a pattern.
            None, the default: all of them.
        exclude_modules: linears that never carry one.
        low_rank: rank of the low pair.
        high_rank: rank of the high pair.
        components: rows that each task adds to a gate.
        layers_per_gate: decoder layers that share one gate; the last group may be shorter.
        gate: `token`: one gate per token, causal and without state. `prefix`: over what a token may attend to.
            `reference`: one per sequence, over all positions, as the released code has it, hence not causal.
            `none`: both gates are 1; the adapter can be merged.
        init: of A. `kaiming`: LoRA's. `reference`: normal with deviation 1 / rank squared, the released code's.
        tasks: names of the tasks so far, in order; the last one is the one that trains.
        seed: of the rows that a gate starts with.
        modules_to_save: modules tuned in full beside the adapter.
        init_weights: False fills B with noise instead of zeros, for tests that need an adapter that acts.
    """

    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = field(default=None)
    low_rank: int = 4
    high_rank: int = 16
    components: int = 8
    layers_per_gate: int = 4
    gate: str = "token"
    init: str = "kaiming"
    tasks: list[str] = field(default_factory=lambda: ["task"])
    seed: int = 0
    modules_to_save: list[str] | None = field(default=None)
    init_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.DATA  # type: ignore[attr-defined]  # added by registration.py
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
            raise OptionError("DataAdapterConfig: " + "; ".join(problems) + ".")

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write the configuration, and into PEFT's model card beside it the import that loading needs."""
        super().save_pretrained(save_directory, **kwargs)
        folder = Path(save_directory)
        for card in (folder / "README.md", folder.parent / "README.md"):  # a named adapter has a folder of its own
            if card.is_file() and "library_name: peft" in (text := card.read_text("utf-8")):
                if "import llamafactory_ext" not in text:
                    card.write_text(text.rstrip() + "\n" + LOADING, "utf-8")
                break
