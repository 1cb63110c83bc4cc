"""What the demo compares: one row per method, each an unmodified `llamafactory-cli train` of a file in examples/."""

from dataclasses import dataclass
from pathlib import Path

_BUNDLE = Path(__file__).parents[1] / "_bundle"
PACKAGE_ROOT = _BUNDLE if _BUNDLE.is_dir() else Path(__file__).parents[3]
"""Where `examples/` and `data/` lie: within an installed package, or in the clone."""
SHIPPED_MODEL = Path(__file__).parent / "model"


@dataclass(frozen=True)
class Method:
    """One training run of the demo.

    Attributes:
        name: folder and row name.
        label: what the table calls it.
        yaml: the file under examples/yaml that trains it; empty for the base model, which is only measured.
        adapter: whether the result is a PEFT adapter; otherwise it is a whole model.
        resumes: whether an interrupted training goes on when the same command is given again.
        options: further words of the command line, as ``name=value``.
    """

    name: str
    label: str
    yaml: str
    adapter: bool = True
    resumes: bool = False
    options: tuple[str, ...] = ()


METHODS = (
    Method("base", "base model", "", adapter=False),
    Method("ft", "full fine-tuning", "full_tiny.yaml", adapter=False),
    Method("lora", "LoRA", "lora_tiny.yaml"),
    Method("ft_dm", "full fine-tuning + general data", "full_mix_tiny.yaml", adapter=False),
    Method("lora_dm", "LoRA + general data", "lora_mix_tiny.yaml"),
    Method("citi", "CITI", "citi_tiny.yaml", resumes=True),
)
