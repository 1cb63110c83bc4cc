"""The groups of our options: which class declares them, what they take, and the method or stage they belong to."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from .citi import options as citi_options
from .citi.options import CitiArguments
from .options import data as data_options
from .options import run as run_options
from .options.data import DataArguments
from .options.groups import Group
from .options.run import RunArguments
from .options.stages import PPO_STAGE, SFT_STAGE, STAGES
from .options.values import Rule, check_values
from .tl.ppo import options as ppo_options
from .tl.ppo.options import TlPpoArguments
from .tl.sft import options as sft_options
from .tl.sft.options import TlArguments

PREFIXES: Final = ("citi_", "tl_")


GROUPS: Final = (
    Group(CitiArguments, citi_options.RULES, "finetuning_type", ("citi",), {}),
    Group(
        TlArguments,
        sft_options.RULES,
        "stage",
        (SFT_STAGE,),
        dict.fromkeys(sft_options.SHARED, (PPO_STAGE,)),
    ),
    Group(TlPpoArguments, ppo_options.RULES, "stage", (PPO_STAGE,), {}),
    Group(DataArguments, data_options.RULES, "stage", STAGES, {}, ("finetuning_type", ("citi",)), "ext_data"),
    Group(RunArguments, run_options.RULES, "stage", STAGES, {}, ("finetuning_type", ("citi",)), "ext_run"),
)
RULES: Final[Mapping[str, Rule]] = {name: rule for group in GROUPS for name, rule in group.rules.items()}


def option_names(*arguments: type) -> tuple[str, ...]:
    """The names of the options that these classes declare, in order; of all our options without any."""
    kinds = arguments or tuple(group.arguments for group in GROUPS)
    return tuple(option.name for kind in kinds for option in fields(kind))


def acts(name: str, chosen: Mapping[str, Any]) -> bool:
    """Whether an option of ours has an effect beside these values of the others; those of no method have."""
    for group in GROUPS:
        if name in group.rules:
            return group.applies(chosen) or chosen.get(group.option) in group.shared.get(name, ())
    return True


def normalise(args: Any) -> list[str]:
    """Turn our options into their declared types in place, wrong ones into their defaults; return what was wrong."""
    problems = []
    for group in GROUPS:
        given = {name: getattr(args, name) for name in option_names(group.arguments)}
        values, wrong = check_values(given, group.rules)
        problems += wrong
        defaults = group.arguments()
        for name in given:
            setattr(args, name, values.get(name, getattr(defaults, name)))
    return problems
