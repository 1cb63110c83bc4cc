"""Rows of the options about which weights train: LoRA, OFT, freezing."""

from typing import Final

from ..values import Number, Switch
from .conditions import oft_problems, pissa_problems
from .modules import freezing_problems, target_problems
from .row import Fate, Row, refused, row

_FOREIGN: Final = refused("has no effect with {method}; remove it")
_NO_DROPOUT: Final = refused("is dropout, which {method} switches off to compare probabilities; remove it")
_PPO_OPTIMISER: Final = refused(
    "has no learning rate of its own for the critic, which {method} needs; remove it, and set optim"
)
_UNREAD: Final = refused("is not read by LLaMA-Factory; set lora_target, by which OFT goes too")
_NEW_LAYERS: Final = refused("adds layers to the base, which {method} leaves as it is; remove it")


def _citis(option: str) -> Fate:
    return refused(f"has no effect with {{method}}; set {option}")


ADAPTER_ROWS: Final[tuple[Row, ...]] = (
    row(
        "freeze_trainable_layers",
        1,
        takes=Number(-1000, 1000, whole=True),
        types=("freeze", "lora"),
        citi=_FOREIGN,
        note="with lora it acts beside use_llama_pro alone",
    ),
    row("freeze_trainable_modules", "mlp", types=("freeze",), citi=_FOREIGN, check=freezing_problems),
    row("freeze_extra_modules", "lm_head", types=("freeze",), citi=_FOREIGN, check=freezing_problems),
    row("additional_target", "lm_head", types=("lora", "oft"), citi=_FOREIGN, check=target_problems),
    row(
        "module_dropout",
        0.5,
        takes=Number(0, 1, open_high=True),
        types=("oft",),
        citi=_FOREIGN,
        ppo=_NO_DROPOUT,
        beside={"oft_block_size": 4},
        shows="nothing",
        note="PEFT 0.18 leaves the first two steps as they are",
    ),
    row(
        "oft_rank",
        4,
        takes=Number(0, whole=True),
        types=("oft",),
        citi=_FOREIGN,
        check=oft_problems,
        along={"oft_block_size": 0},
    ),
    row("oft_block_size", 4, takes=Number(0, whole=True), types=("oft",), citi=_FOREIGN),
    row(
        "oft_target",
        "q_proj",
        citi=_FOREIGN,
        sft=_UNREAD,
        ppo=_UNREAD,
    ),
    row(
        "create_new_adapter",
        True,
        takes=Switch(),
        types=("lora", "oft"),
        citi=_FOREIGN,
        beside={"adapter_name_or_path": "$adapter"},
    ),
    row(
        "lora_rank",
        4,
        takes=Number(1, whole=True),
        types=("lora",),
        citi=_citis("citi_rank"),
    ),
    row(
        "lora_alpha",
        64,
        takes=Number(1, whole=True),
        types=("lora",),
        citi=_citis("citi_alpha"),
    ),
    row("lora_dropout", 0.5, takes=Number(0, 1, open_high=True), types=("lora",), citi=_FOREIGN, ppo=_NO_DROPOUT),
    row(
        "lora_target",
        "q_proj",
        types=("lora", "oft"),
        check=target_problems,
        citi=refused("has no effect with {method}; citi chooses the modules by importance, set citi_top_ratio"),
    ),
    row("loraplus_lr_ratio", 16.0, takes=Number(0, open_low=True), types=("lora",), ppo=_PPO_OPTIMISER),
    row(
        "loraplus_lr_embedding",
        1e-2,
        takes=Number(0),
        types=("lora",),
        of="loraplus_lr_ratio",
        citi=_FOREIGN,
        ppo=_PPO_OPTIMISER,
        beside={"tl_sft": {"loraplus_lr_ratio": 16.0, "lora_target": "embed_tokens,q_proj"}},
    ),
    row("use_rslora", True, takes=Switch(), types=("lora",), citi=_FOREIGN),
    row("use_dora", True, takes=Switch(), types=("lora",), citi=_FOREIGN),
    row("pissa_init", True, takes=Switch(), types=("lora",), citi=_FOREIGN, check=pissa_problems),
    row(
        "pissa_iter",
        4,
        takes=Number(-1, whole=True),
        types=("lora",),
        of="pissa_init",
        citi=_FOREIGN,
        beside={"pissa_init": True},
    ),
    row(
        "pissa_convert",
        True,
        takes=Switch(),
        types=("lora",),
        of="pissa_init",
        citi=_FOREIGN,
        beside={"pissa_init": True},
        shows="file pissa_converted/*",
        ppo=refused("does not find the adapter beside the critic of {method}; remove it"),
    ),
    row(
        "use_llama_pro",
        True,
        takes=Switch(),
        types=("lora", "freeze"),
        citi=_NEW_LAYERS,
        beside={"freeze_trainable_layers": 1},
    ),
)
