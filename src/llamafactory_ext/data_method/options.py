"""The `data_*` options: declaration, defaults, and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ..options.values import Number, Rule, rules_of


@dataclass
class DataMethodArguments:
    """Options of continual learning with DATA (arXiv:2502.11482); defaults are its released code's where sound."""

    data_task: str | None = field(
        default=None,
        metadata={
            "help": "DATA: name of the task that this run learns; required for training. With data_rows: task, the "
            "task whose gate rows are used to answer."
        },
    )
    data_low_rank: int = field(default=4, metadata={"help": "DATA: rank of the low pair of each linear."})
    data_high_rank: int = field(default=16, metadata={"help": "DATA: rank of the high pair of each linear."})
    data_components: int = field(default=8, metadata={"help": "DATA: rows that each task adds to a gate."})
    data_layers_per_gate: int = field(default=4, metadata={"help": "DATA: decoder layers that share one gate."})
    data_gate: Literal["token", "prefix", "reference", "none"] = field(
        default="token",
        metadata={
            "help": "DATA: what opens a gate: each token for itself (causal), all tokens before it, the whole "
            "sequence (as in the released code, not causal), or nothing: both gates are 1."
        },
    )
    data_ortho_weight: float = field(
        default=1.0, metadata={"help": "DATA: weight of the loss that keeps a gate's rows orthogonal."}
    )
    data_restore_ratio: float = field(
        default=0.0,
        metadata={
            "help": "DATA: length of a window, as a share of all steps, at whose end weights are restored; 0: never."
        },
    )
    data_restore_probability: float = field(
        default=1e-5, metadata={"help": "DATA: share of the adapter's weights that a restoration takes back."}
    )
    data_target: Literal["all", "attention"] = field(
        default="all",
        metadata={"help": "DATA: linears of the decoder layers that are adapted: all, or those of attention."},
    )
    data_init: Literal["kaiming", "reference"] = field(
        default="kaiming", metadata={"help": "DATA: how A begins: as LoRA's, or as in the released code."}
    )
    data_rows: Literal["all", "task"] = field(
        default="all",
        metadata={"help": "DATA: rows that gates use to answer: all, or those up to data_task (for experiments)."},
    )


RULES: Final[Mapping[str, Rule]] = rules_of(
    DataMethodArguments,
    data_low_rank=Number(1, whole=True),
    data_high_rank=Number(1, whole=True),
    data_components=Number(1, whole=True),
    data_layers_per_gate=Number(1, whole=True),
    data_ortho_weight=Number(0),
    data_restore_ratio=Number(0, 1),
    data_restore_probability=Number(0, 1),
)
