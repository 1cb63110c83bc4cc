"""Rows of the options about which weights train: LoRA, OFT, freezing."""

from typing import Final

from ..values import Number, Switch
from .conditions import oft_problems
from .modules import freezing_problems, target_problems
from .row import Row, refused, row

_UNREAD: Final = refused("is not read by LLaMA-Factory; set lora_target, by which OFT goes too")

ADAPTER_ROWS: Final[tuple[Row, ...]] = (
    row(
        "freeze_trainable_layers",
        1,
        takes=Number(-1000, 1000, whole=True),
        types=("freeze", "lora"),
        note="with lora it acts beside use_llama_pro alone",
    ),
    row("freeze_trainable_modules", "mlp", types=("freeze",), check=freezing_problems),
    row("freeze_extra_modules", "lm_head", types=("freeze",), check=freezing_problems),
    row("additional_target", "lm_head", types=("lora", "oft"), check=target_problems),
    row(
        "module_dropout",
        0.5,
        takes=Number(0, 1, open_high=True),
        types=("oft",),
        beside={"oft_block_size": 4},
        shows="nothing",
        note="PEFT 0.18 leaves the first two steps as they are",
    ),
    row("oft_rank", 4, takes=Number(0, whole=True), types=("oft",), check=oft_problems, along={"oft_block_size": 0}),
    row("oft_block_size", 4, takes=Number(0, whole=True), types=("oft",)),
    row("oft_target", "q_proj", every=_UNREAD),
    row(
        "create_new_adapter",
        True,
        takes=Switch(),
        types=("lora", "oft"),
        beside={"adapter_name_or_path": "$adapter"},
    ),
    row("lora_rank", 4, takes=Number(1, whole=True), types=("lora",)),
    row("lora_alpha", 64, takes=Number(1, whole=True), types=("lora",)),
    row("lora_dropout", 0.5, takes=Number(0, 1, open_high=True), types=("lora",)),
    row("lora_target", "q_proj", types=("lora", "oft"), check=target_problems),
    row("loraplus_lr_ratio", 16.0, takes=Number(0, open_low=True), types=("lora",)),
    row("loraplus_lr_embedding", 1e-2, takes=Number(0), types=("lora",), of="loraplus_lr_ratio"),
    row("use_rslora", True, takes=Switch(), types=("lora",)),
    row("use_dora", True, takes=Switch(), types=("lora",)),
    row("pissa_init", True, takes=Switch(), types=("lora",)),
    row("pissa_iter", 4, takes=Number(-1, whole=True), types=("lora",), of="pissa_init", beside={"pissa_init": True}),
    row(
        "pissa_convert",
        True,
        takes=Switch(),
        types=("lora",),
        of="pissa_init",
        beside={"pissa_init": True},
        shows="file pissa_converted/*",
    ),
    row("use_llama_pro", True, takes=Switch(), types=("lora", "freeze"), beside={"freeze_trainable_layers": 1}),
)
