"""The configuration of a Mixture-of-LoRA adapter."""

from __future__ import annotations

from dataclasses import dataclass, field

from peft import PeftConfig
from peft.utils import PeftType

from ..errors import OptionError


@dataclass
class MoLoraConfig(PeftConfig):
    """Settings of MOLoRA (CITI, arXiv:2409.13202, section 3.1; values of its appendix A.3 as defaults).

    Args:
        target_modules: linears that carry an adapter, as full module names of the base model. PEFT's suffixes
            (`["q_proj"]`) work as well.
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
            f"{name}={value!r} must be a whole number of at least 1"
            for name, value in (("num_experts", self.num_experts), ("r", self.r))
            if not isinstance(value, int) or value < 1
        ]
        if not isinstance(self.neutral_gate, bool):
            problems.append(f"neutral_gate={self.neutral_gate!r} must be True or False")
        if not self.alpha > 0:
            problems.append(f"alpha={self.alpha!r} must be greater than 0")
        targets = self.target_modules if isinstance(self.target_modules, list) else []
        if both := sorted({*targets} & {*(self.modules_to_save or [])}):
            problems.append(f"{both} stand in target_modules and in modules_to_save; name each in one of them")
        if problems:
            raise OptionError("MoLoraConfig: " + "; ".join(problems) + ".")

    @property
    def scaling(self) -> float:
        """Alpha / r."""
        return self.alpha / self.r
