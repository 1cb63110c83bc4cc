"""The `citi_*` options and the class that takes the place of upstream's FinetuningArguments.

"Lowering": upstream's own checks know four fine-tuning types. `__post_init__` shows them the nearest one, `lora`, and
afterwards `finetuning_type` is "citi" again. Annotations stay real objects here (no postponed evaluation), because
HfArgumentParser resolves them in another module's namespace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ..errors import OptionError
from .conflicts import finetuning_conflicts
from .values import PHASES, check_values

NEAREST_TYPE = "lora"
HEADING = "These options do not work:"
_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextmanager
def collecting_problems() -> Iterator[list[str]]:
    """Within this context FinetuningArguments adds its problems to the yielded list and does not raise them."""
    problems: list[str] = []
    token = _collected.set(problems)
    try:
        yield problems
    finally:
        _collected.reset(token)


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
    citi_importance_reduction: Literal["dataset", "batch", "example", "token"] = field(
        default="dataset",
        metadata={
            "help": "CITI: level at which importance takes the absolute value; the paper takes it over the data set."
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
    citi_report_samples: int = field(
        default=64,
        metadata={"help": "CITI: examples per task in the report before and after training; 0 = no report."},
    )

    def normalise_citi(self) -> list[str]:
        """Turn every option into its declared type in place, a wrong one into its default; return what was wrong."""
        given = {name: getattr(self, name) for name in option_names()}
        values, problems = check_values(given)
        defaults = CitiArguments()
        for name in given:
            setattr(self, name, values.get(name, getattr(defaults, name)))
        return problems


def option_names() -> tuple[str, ...]:
    """The names of all CITI options, in the order of declaration."""
    return tuple(option.name for option in fields(CitiArguments))


def changed_options(args: CitiArguments) -> list[str]:
    """The CITI options of `args` whose value is not the default."""
    defaults = CitiArguments()
    return [name for name in option_names() if getattr(args, name) != getattr(defaults, name)]


def _report(problems: list[str]) -> None:
    collected = _collected.get()
    if collected is None:
        raise OptionError.listing(HEADING, problems)
    collected.extend(problems)


def extend_finetuning_arguments(base: type) -> type:
    """The class that replaces upstream's FinetuningArguments: its fields, ours, and type `citi`.

    Args:
        base: upstream's dataclass; its `__post_init__` still makes every check it makes for `lora`.
    """

    @dataclass
    class FinetuningArguments(CitiArguments, base):  # type: ignore[misc, valid-type]
        """Upstream's fine-tuning options and those of CITI."""

        finetuning_type: Literal["lora", "oft", "freeze", "full", "citi"] = field(
            default="lora", metadata={"help": "Which fine-tuning method to use."}
        )

        def __post_init__(self) -> None:
            problems = self.normalise_citi()
            if self.finetuning_type != "citi":
                problems += [
                    f"{name} has no effect with finetuning_type: {self.finetuning_type}; remove it, or set "
                    "finetuning_type: citi"
                    for name in changed_options(self)
                ]
            else:
                problems += finetuning_conflicts(self, base)
            if problems:
                _report(problems)
            elif self.finetuning_type == "citi":
                self.finetuning_type = NEAREST_TYPE  # type: ignore[assignment]
                super().__post_init__()
                self.finetuning_type = "citi"
            else:
                super().__post_init__()

    # Pickle and error messages find the class where upstream's was.
    FinetuningArguments.__module__, FinetuningArguments.__qualname__ = base.__module__, base.__qualname__
    extended: type[Any] = FinetuningArguments
    return extended
