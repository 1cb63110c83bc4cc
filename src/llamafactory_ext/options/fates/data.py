"""Rows of the options about data and generation."""

from typing import Final

from ..values import Choice, Number, Switch, Text
from .conditions import mixing_problems, streaming_problems
from .row import Row, group, idle, refused, row

_WHILE_TRAINING: Final = idle("has no effect while {method} trains; it is for chat, api and prediction")


DATA_ROWS: Final[tuple[Row, ...]] = (
    row("template", "default", takes=Text()),
    row("dataset", "more"),
    row("eval_dataset", "more", shows="nothing"),
    row("dataset_dir", "$other_data", takes=Text()),
    row("media_dir", "$folder", takes=Text(), shows="nothing"),
    row("cutoff_len", 900, takes=Number(1, whole=True)),
    row("train_on_prompt", True, takes=Switch()),
    row("mask_history", True, takes=Switch(), beside={"dataset": "dialogues"}),
    row(
        "ignore_pad_token_for_loss",
        False,
        takes=Switch(),
        every=refused("would train on padding, which {method} leaves out of its loss; remove it"),
    ),
    row("streaming", True, takes=Switch(), check=streaming_problems),
    row("buffer_size", 4, takes=Number(1, whole=True), of="streaming"),
    row(
        "mix_strategy",
        "interleave_under",
        takes=Choice(("concat", "interleave_under", "interleave_over", "interleave_once")),
        beside={"dataset": "tiny,more"},
    ),
    row(
        "interleave_probs",
        "0.3,0.7",
        check=mixing_problems,
        beside={"dataset": "tiny,more", "mix_strategy": "interleave_under"},
    ),
    row("overwrite_cache", True, takes=Switch(), shows="nothing"),
    row("preprocessing_batch_size", 3, takes=Number(1, whole=True), shows="nothing"),
    row("preprocessing_num_workers", 2, takes=Number(1, whole=True), shows="nothing"),
    row("max_samples", 8, takes=Number(1, whole=True)),
    row("eval_num_beams", 2, takes=Number(1, whole=True), every=_WHILE_TRAINING),
    row("val_size", 0.25, takes=Number(0)),
    row(
        "eval_on_each_dataset",
        True,
        takes=Switch(),
        beside={"eval_dataset": "tiny,more", "do_eval": True},
        shows="file eval_results.json",
    ),
    row("packing", True, takes=Switch()),
    row("neat_packing", True, takes=Switch()),
    row("tool_format", "qwen", takes=Text()),
    row("default_system", "Answer in one word.", takes=Text()),
    row("enable_thinking", False, takes=Switch(), beside={"template": "qwen3", "resize_vocab": True}),
    row(
        "preserve_thinking",
        True,
        takes=Switch(),
        beside={"template": "qwen3", "resize_vocab": True, "dataset": "dialogues"},
        note="in training it acts beside mask_history",
    ),
    row("tokenized_path", "$tokenized", takes=Text(), shows="nothing"),
    row("data_shared_file_system", True, takes=Switch(), shows="nothing"),
)

GENERATING_ROWS: Final[tuple[Row, ...]] = (
    row("do_sample", False, every=_WHILE_TRAINING),
    row("temperature", 0.5, every=_WHILE_TRAINING),
    row("top_p", 0.5, every=_WHILE_TRAINING),
    row("top_k", 5, every=_WHILE_TRAINING),
    row("max_new_tokens", 8, every=_WHILE_TRAINING),
    row("max_length", 64, every=_WHILE_TRAINING),
    row("num_beams", 2, every=_WHILE_TRAINING),
    *group(
        {"repetition_penalty": 1.2, "length_penalty": 0.5},
        every=_WHILE_TRAINING,
    ),
    row("skip_special_tokens", False, every=_WHILE_TRAINING),
)
