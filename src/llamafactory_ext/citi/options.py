"""The `citi_*` options: declaration, defaults (the paper's), and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ..options.values import File, Number, Phases, Rule, rules_of

PHASES: Final = ("rp", "mi", "uco")


@dataclass
class CitiArguments:
    """Options of component-importance guided tool tuning (CITI, arXiv:2409.13202); defaults are the paper's."""

    citi_top_ratio: float = field(
        default=0.2,
        metadata={"help": "CITI: share of linear components, by tool importance, that get a MOLoRA adapter (0 to 1]."},
    )
    citi_bottom_ratio: float = field(
        default=0.1,
        metadata={
            "help": "CITI: share of linear components, by least general importance, that phase uco tunes fully."
        },
    )
    citi_select: Literal["top", "bottom", "random"] = field(
        default="top",
        metadata={
            "help": "CITI: which end of the ranking by tool importance citi_top_ratio is taken from; random draws by "
            "seed. The method takes the top; the others are for experiments."
        },
    )
    citi_adapter: Literal["molora", "lora", "full"] = field(
        default="molora",
        metadata={
            "help": "CITI: what those components carry: MOLoRA (the method), one LoRA of citi_rank and citi_alpha, or "
            "nothing, and are tuned in full. Phase mi trains it."
        },
    )
    citi_num_experts: int = field(default=4, metadata={"help": "CITI: LoRA experts per MOLoRA adapter."})
    citi_rank: int = field(default=8, metadata={"help": "CITI: rank of each expert."})
    citi_alpha: float = field(
        default=2.0, metadata={"help": "CITI: scale of the experts; they add alpha / rank * BAx."}
    )
    citi_router_delta: float = field(
        default=0.95,
        metadata={"help": "CITI: how strongly the router loss separates tool from general data, 0 to 1."},
    )
    citi_router_beta: float = field(
        default=0.01,
        metadata={"help": "CITI: weight of the router loss beside the language-model loss; 0 turns it off."},
    )
    citi_router_neutral: bool = field(
        default=True,
        metadata={
            "help": "CITI: the router has an output that drives no expert. false, with citi_router_beta: 0 and "
            "without phase rp, gives the ablation without router loss."
        },
    )
    citi_router_scope: Literal["batch", "sample", "token"] = field(
        default="batch",
        metadata={
            "help": "CITI: what the router loss takes its variance over: all unmasked tokens of a batch, gates "
            "averaged per sample, or each token alone."
        },
    )
    citi_router_window: Literal["step", "micro"] = field(
        default="step",
        metadata={
            "help": "CITI: whether scopes batch and sample span the whole optimiser step (over accumulation and "
            "processes) or each micro-batch."
        },
    )
    citi_importance_samples: int = field(
        default=3000, metadata={"help": "CITI: examples per task from which importance is computed."}
    )
    citi_importance_score: Literal["auto", "eq4", "snip", "fisher", "wanda"] = field(
        default="auto",
        metadata={
            "help": "CITI: how importance is scored: by eq. 4 of the paper (eq4), which vanishes where a norm follows "
            "a linear, or by sums of absolute first-order terms (snip), of squared gradients (fisher), of weights "
            "times activations (wanda). auto: eq4 where it exists for every linear, else snip for all."
        },
    )
    citi_importance_stop: float = field(
        default=0.0,
        metadata={
            "help": "CITI: end the importance of a task once its two halves choose alike: the least Jaccard index of "
            "their choices, such as 0.95; 0 looks at all samples."
        },
    )
    citi_importance_reduction: Literal["dataset", "batch", "example", "token"] = field(
        default="dataset",
        metadata={
            "help": "CITI: level at which eq. 4 takes the absolute value; the paper takes it over the data set."
        },
    )
    citi_importance_dtype: Literal["auto", "float32", "model"] = field(
        default="auto",
        metadata={
            "help": "CITI: number type of the importance pass: float32, the model's own, or float32 if that fits."
        },
    )
    citi_importance_load: str | None = field(
        default=None, metadata={"help": "CITI: use this importance file instead of computing one."}
    )
    citi_importance_save: str | None = field(
        default=None,
        metadata={"help": "CITI: where the computed importance is written (default: <output_dir>/importance.json)."},
    )
    citi_phases: list[str] = field(
        default_factory=lambda: list(PHASES),
        metadata={"help": "CITI: phases to run, in the order rp,mi,uco; some may be left out."},
    )
    citi_rp_epochs: float = field(default=1.0, metadata={"help": "CITI: epochs of phase rp (router only)."})
    citi_rp_lr: float = field(default=2e-4, metadata={"help": "CITI: learning rate of phase rp."})
    citi_mi_epochs: float = field(default=2.0, metadata={"help": "CITI: epochs of phase mi (experts and router)."})
    citi_mi_lr: float = field(default=2e-4, metadata={"help": "CITI: learning rate of phase mi."})
    citi_uco_epochs: float = field(
        default=1.0, metadata={"help": "CITI: epochs of phase uco (the least important backbone components)."}
    )
    citi_uco_lr: float = field(default=2e-5, metadata={"help": "CITI: learning rate of phase uco."})
    citi_kernel: Literal["torch", "triton"] = field(
        default="torch",
        metadata={
            "help": "CITI: what MOLoRA adapters compute with, all but the matrix products: torch, or triton (GPU "
            "kernels that each take the place of about ten)."
        },
    )
    citi_export: Literal["model", "none"] = field(
        default="model",
        metadata={
            "help": "CITI: model refuses, before training, a base whose adapters cannot be exported; none trains it "
            "all the same."
        },
    )
    citi_report_samples: int = field(
        default=64,
        metadata={"help": "CITI: examples per task in the report before and after training; 0 = no report."},
    )


RULES: Final[Mapping[str, Rule]] = rules_of(
    CitiArguments,
    citi_top_ratio=Number(0, 1, open_low=True),
    citi_bottom_ratio=Number(0, 1, open_high=True),
    citi_num_experts=Number(1, whole=True),
    citi_rank=Number(1, whole=True),
    citi_alpha=Number(0, open_low=True),
    citi_router_delta=Number(0, 1),
    citi_router_beta=Number(0),
    citi_importance_samples=Number(1, whole=True),
    citi_importance_stop=Number(0, 1),
    citi_importance_load=File(),
    citi_importance_save=File(),
    citi_phases=Phases(PHASES),
    citi_rp_epochs=Number(0, open_low=True),
    citi_rp_lr=Number(0, open_low=True),
    citi_mi_epochs=Number(0, open_low=True),
    citi_mi_lr=Number(0, open_low=True),
    citi_uco_epochs=Number(0, open_low=True),
    citi_uco_lr=Number(0, open_low=True),
    citi_report_samples=Number(0, whole=True),
)
