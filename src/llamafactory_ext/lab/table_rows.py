"""The rows of the lab's table, and the trials by which the settings of each method are chosen.

Every method with settings of its own has the same number of trials, scored on the validation half of the held-out
items. The ablations take CITI's winner and leave out what their name says (arXiv:2409.13202, section 4.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .jobs import Row
from .methods import METHODS, Method

TRIAL_SEED = 7
FIRST_SEED = 42


@dataclass(frozen=True)
class Tuned:
    """A method and the settings that its trials try.

    Attributes:
        method: what is trained.
        trials: the words of the command line, one tuple per trial.
    """

    method: Method
    trials: tuple[tuple[str, ...], ...]


def _rates(*rates: float) -> tuple[tuple[str, ...], ...]:
    return tuple((f"learning_rate={rate:g}",) for rate in rates)


def _citi(*settings: tuple[float, float, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (f"citi_mi_lr={mi:g}", f"citi_uco_lr={uco:g}", f"citi_router_scope={scope}") for mi, uco, scope in settings
    )


_BY_NAME = {method.name: method for method in METHODS}
BASE = _BY_NAME["base"]
TUNED: dict[str, Tuned] = {
    "ft": Tuned(_BY_NAME["ft"], _rates(1e-4, 3e-4, 6e-4, 1e-3)),
    "lora": Tuned(_BY_NAME["lora"], _rates(5e-4, 1e-3, 2e-3, 4e-3)),
    "ft_dm": Tuned(_BY_NAME["ft_dm"], _rates(1e-4, 3e-4, 6e-4, 1e-3)),
    "lora_dm": Tuned(_BY_NAME["lora_dm"], _rates(5e-4, 1e-3, 2e-3, 4e-3)),
    "citi": Tuned(
        _BY_NAME["citi"],
        _citi((6e-3, 3e-4, "batch"), (6e-3, 3e-4, "sample"), (3e-3, 3e-4, "sample"), (6e-3, 1e-3, "sample")),
    ),
}
ABLATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rp_mi": ("RP + MI", ("citi_phases=rp,mi",)),
    "uco": ("UCO", ("citi_phases=uco",)),
    "without_molora": (
        "without MOLoRA",
        ("citi_phases=mi,uco", "citi_adapter=lora", "citi_rank=32", "citi_alpha=32"),
    ),
    "without_router_loss": (
        "without router loss",
        ("citi_phases=mi,uco", "citi_router_neutral=false", "citi_router_beta=0"),
    ),
    "without_rp": ("without RP", ("citi_phases=mi,uco",)),
}
NAMES = (BASE.name, *TUNED, *ABLATIONS)


def trial(name: str, number: int) -> Method:
    """Return the run of one trial."""
    tuned = TUNED[name]
    return replace(
        tuned.method,
        name=f"{name}-trial-{number}",
        label=f"{tuned.method.label}, trial {number + 1}",
        options=(*tuned.trials[number], f"seed={TRIAL_SEED}"),
    )


def tools_of(row: Row) -> float:
    """Return the share of right calls, the mean of seen and unseen tools."""
    scores = row["scores"]
    tools: float = (scores["tool_seen"]["accuracy"] + scores["tool_unseen"]["accuracy"]) / 2
    return tools


def worth(row: Row) -> float:
    """Return what a trial is chosen by: the mean of the share of right calls and of the general abilities."""
    general: float = row["general"]
    return (tools_of(row) + general) / 2


def winner(name: str, tried: Sequence[Row]) -> tuple[str, ...]:
    """Return the settings of the best trial; of equals the first."""
    best = max(range(len(tried)), key=lambda number: worth(tried[number]))
    return TUNED[name].trials[best]


def settings_of(name: str) -> str:
    """Return the method whose settings a row takes: an ablation those of CITI."""
    return "citi" if name in ABLATIONS else name


def run_of(name: str, seed: int, chosen: Mapping[str, tuple[str, ...]]) -> Method:
    """Return one run of a row.

    Args:
        name: of the row.
        seed: of the training; the base has none.
        chosen: the winning settings of each tuned method.
    """
    if name == BASE.name:
        return BASE
    settings, label, method = chosen[settings_of(name)], "", _BY_NAME.get(name, _BY_NAME["citi"])
    if name in ABLATIONS:
        label, left_out = ABLATIONS[name]
        if "citi_adapter=lora" in left_out:  # which has no routers to set
            settings = tuple(word for word in settings if not word.startswith("citi_router_"))
        settings = (*settings, *left_out)
    return replace(
        method,
        name=f"{name}-{seed}",
        label=f"{label or method.label}, seed {seed}",
        options=(*settings, f"seed={seed}"),
    )
