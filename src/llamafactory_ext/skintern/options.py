"""The options of `stage: skintern`: declaration, defaults, and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ..options.values import Choice, Number, Rule, Text

MOST_STEPS: Final = 9


@dataclass
class SkinternArguments:
    """Options of SKIntern (arXiv:2409.13183)."""

    skintern_steps: int = field(
        default=4, metadata={"help": "SKIntern: steps of training; the last has no knowledge in its prompts."}
    )
    skintern_pattern: str = field(
        default="linear",
        metadata={
            "help": "SKIntern: how the share of the knowledge falls from step to step: linear, exp, inverse_exp, "
            "step, or the shares themselves, such as 1,0.5,0."
        },
    )
    skintern_decay: float = field(default=3.0, metadata={"help": "SKIntern: how fast exp and inverse_exp fall."})
    skintern_shots: int = field(default=6, metadata={"help": "SKIntern: solved examples in the first step's prompts."})
    skintern_examples: Literal["similar", "random"] = field(
        default="similar",
        metadata={"help": "SKIntern: examples are the most similar records of the same task, or any of them."},
    )
    skintern_parts: str = field(
        default="summary,supplement,examples",
        metadata={"help": "SKIntern: what prompts hold beside the question, of summary, supplement and examples."},
    )
    skintern_compressor: Literal["extractive", "self_info", "tools", "llmlingua2"] = field(
        default="extractive",
        metadata={
            "help": "SKIntern: what is shortened: words of the knowledge (extractive: rare ones stay; self_info: "
            "those that surprise a model; llmlingua2: the package), or the documentation of tools."
        },
    )
    skintern_compressor_model: str | None = field(
        default=None,
        metadata={
            "help": "SKIntern: local folder of the model that self_info and llmlingua2 ask; default of self_info: the "
            "model that is trained."
        },
    )
    skintern_final: Literal["question", "reference"] = field(
        default="question",
        metadata={
            "help": "SKIntern: the last step's prompt is the question alone, or, as in the published code, keeps the "
            "words that announce knowledge."
        },
    )
    skintern_lr_schedule: Literal["per_step", "whole"] = field(
        default="per_step",
        metadata={"help": "SKIntern: the learning rate's schedule starts anew with each step, or spans all of them."},
    )
    skintern_last_share: float = field(
        default=0.0,
        metadata={"help": "SKIntern: share of the epochs for the last step; the others divide the rest. 0: 1/steps."},
    )
    skintern_keep_share: float = field(
        default=0.0, metadata={"help": "SKIntern: share of the records that keep all knowledge in every step."}
    )
    skintern_overflow: Literal["shots", "error"] = field(
        default="shots",
        metadata={
            "help": "SKIntern: what becomes of prompts longer than cutoff_len: they lose examples, the least similar "
            "first, then knowledge; or an error."
        },
    )
    skintern_measure: str | None = field(
        default=None,
        metadata={
            "help": "SKIntern: one or two data sets of tool calls, of trained tools and of others, that are asked "
            "bare and with documents before training and after every step."
        },
    )
    skintern_baseline: Literal[
        "none",
        "std_cot",
        "std_restarts",
        "abrupt",
        "drop",
        "ft",
        "mt_cot",
        "step_by_step",
        "kard",
        "distil",
    ] = field(
        default="none",
        metadata={
            "help": "SKIntern: a rival at the same budget: std_cot (no knowledge, one run), std_restarts (no "
            "knowledge, as many restarts as steps), abrupt (all knowledge, then none), drop (all knowledge in half of "
            "the records, one run), ft (no knowledge and no rationale), mt_cot and step_by_step (answers and "
            "rationales apart), kard (documents that are searched for), distil (learns from itself with knowledge)."
        },
    )
    skintern_budget: Literal["steps", "tokens"] = field(
        default="steps",
        metadata={
            "help": "SKIntern: a rival takes as many optimizer steps as the chain, or sees as many tokens; both are "
            "printed."
        },
    )
    skintern_documents: str | None = field(
        default=None,
        metadata={
            "help": "SKIntern: file or data set whose documents kard searches; default: the knowledge of the others."
        },
    )


BASELINES: Final = (
    "none",
    "std_cot",
    "std_restarts",
    "abrupt",
    "drop",
    "ft",
    "mt_cot",
    "step_by_step",
    "kard",
    "distil",
)
RULES: Final[Mapping[str, Rule]] = {
    "skintern_steps": Number(2, MOST_STEPS, whole=True),
    "skintern_pattern": Text(),
    "skintern_decay": Number(0, 100, open_low=True),
    "skintern_shots": Number(0, whole=True),
    "skintern_examples": Choice(("similar", "random")),
    "skintern_parts": Text(),
    "skintern_compressor": Choice(("extractive", "self_info", "tools", "llmlingua2")),
    "skintern_compressor_model": Text(),
    "skintern_final": Choice(("question", "reference")),
    "skintern_lr_schedule": Choice(("per_step", "whole")),
    "skintern_last_share": Number(0, 1, open_high=True),
    "skintern_keep_share": Number(0, 1),
    "skintern_overflow": Choice(("shots", "error")),
    "skintern_measure": Text(),
    "skintern_baseline": Choice(BASELINES),
    "skintern_budget": Choice(("steps", "tokens")),
    "skintern_documents": Text(),
}
