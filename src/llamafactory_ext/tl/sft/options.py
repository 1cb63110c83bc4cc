"""The options of `stage: tl_sft`: declaration, defaults (the paper's), and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ...options.values import Number, Rule, rules_of

AUTO = "auto"


@dataclass
class TlArguments:
    """Options of TL-Training (arXiv:2412.15495); those of its second stage are in `tl/ppo/options.py`."""

    tl_use_mae: bool = field(
        default=True,
        metadata={"help": "TL: leave calls that their feedback reports as errors out of the loss (MAE)."},
    )
    tl_feedback_rules: Literal["structured", "reference"] = field(
        default="structured",
        metadata={
            "help": "TL: how feedback is judged: by its structure and in categories, or by the marks of the released "
            "code."
        },
    )
    tl_feedback_function: str | None = field(
        default=None,
        metadata={
            "help": "TL: your own judge of feedback as module:function, in place of the rules; it gets the text of "
            "one output (and call=...) and returns a category, True or None."
        },
    )
    tl_use_pkt: bool = field(
        default=True,
        metadata={"help": "TL: give the tokens that decide which tool is called a larger weight in the loss (PKT)."},
    )
    tl_w_max: float = field(default=9.0, metadata={"help": "TL: largest weight of a key token, from 1 up."})
    tl_key_variant: Literal["paper", "reference"] = field(
        default="paper",
        metadata={
            "help": "TL: which tokens of a call count as its other ones: all, as in the paper, or without those that "
            "close a value, as in the released code."
        },
    )
    tl_call_format: Literal[
        "auto",
        "python",
        "api_bank",
        "nexusraven",
        "tool_calls",
        "function_call",
        "tool_use",
        "json",
        "llama3",
        "qwen",
        "mistral",
        "react",
        "glm4",
        "glm4_moe",
        "qwen3_coder",
        "seed_oss",
        "minimax1",
        "minimax2",
        "harmony",
        "mistral_v11",
        "deepseek_v3",
        "deepseek_v31",
        "deepseek_v32",
        "kimi_k2",
        "gemma4",
        "llama31_function",
        "xlam",
        "command_r",
        "granite",
        "internlm2",
        "phi4",
        "lfm2",
        "ling",
        "pythonic",
        "tool_code",
    ] = field(
        default="auto",
        metadata={"help": "TL: how calls are written in the model's text; auto finds it out for each call."},
    )
    tl_skip_bad: bool = field(
        default=False,
        metadata={"help": "TL: train without the examples that cannot be used; otherwise they are an error."},
    )


RULES: Final[Mapping[str, Rule]] = rules_of(
    TlArguments,
    tl_w_max=Number(1, 1000),
)
