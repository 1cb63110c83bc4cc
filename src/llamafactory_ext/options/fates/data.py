"""Rows of the options about data and generation."""

from typing import Final

from ..values import Choice, Number, Switch, Text
from .conditions import mixing_problems, streaming_problems
from .row import Fate, Row, group, idle, refused, row

_NOT_PACKED: Final = refused("joins examples, and {method} draws a response to each prompt; remove it")
_NO_LABELS: Final = refused(
    "says which tokens of the data are trained, and {method} trains on responses that it draws; remove it"
)
_WHILE_TRAINING: Final = idle("has no effect while {method} trains; it is for chat, api and prediction")


def _instead(option: str) -> Fate:
    return refused(f"is not what {{method}} draws responses by; set {option}")


DATA_ROWS: Final[tuple[Row, ...]] = (
    row("template", "default", takes=Text()),
    row("dataset", "more"),
    row("eval_dataset", "more", shows="nothing"),
    row("dataset_dir", "$other_data", takes=Text()),
    row("media_dir", "$folder", takes=Text(), shows="nothing"),
    row(
        "cutoff_len",
        900,
        takes=Number(1, whole=True),
        shows_with={"tl_ppo": "nothing"},
        note="tl_ppo cuts no prompt: calls behind longer ones are cut (cutoff_action)",
    ),
    row("train_on_prompt", True, takes=Switch(), ppo=_NO_LABELS),
    row("mask_history", True, takes=Switch(), ppo=_NO_LABELS, beside={"dataset": "dialogues"}),
    row(
        "ignore_pad_token_for_loss",
        False,
        takes=Switch(),
        every=refused("would train on padding, which {method} leaves out of its loss; remove it"),
    ),
    row(
        "streaming",
        True,
        takes=Switch(),
        citi=refused("does not work with {method}, which passes over the data several times; remove it"),
        ppo=refused("does not work with {method}, which draws queries from all data; remove it"),
        check=streaming_problems,
    ),
    row("buffer_size", 4, takes=Number(1, whole=True), of="streaming", beside={"tl_sft": {"streaming": True}}),
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
        ppo=refused("does not work with {method}, which evaluates all held-out prompts together; remove it"),
    ),
    row("packing", True, takes=Switch(), ppo=_NOT_PACKED),
    row("neat_packing", True, takes=Switch(), ppo=_NOT_PACKED),
    row("tool_format", "qwen", takes=Text()),
    row("default_system", "Answer in one word.", takes=Text()),
    row(
        "enable_thinking",
        False,
        takes=Switch(),
        beside={"template": "qwen3", "resize_vocab": True},
    ),
    row(
        "preserve_thinking",
        True,
        takes=Switch(),
        beside={
            "": {"template": "qwen3", "resize_vocab": True, "dataset": "dialogues"},
            "citi": {"mask_history": True},
            "tl_sft": {"mask_history": True},
        },
        note="in training it acts beside mask_history",
    ),
    row(
        "tokenized_path",
        "$tokenized",
        takes=Text(),
        shows="nothing",
        ppo=refused("holds rows for supervised training, and {method} makes its prompts from records; remove it"),
    ),
    row("data_shared_file_system", True, takes=Switch(), shows="nothing"),
)

GENERATING_ROWS: Final[tuple[Row, ...]] = (
    row("do_sample", False, every=_WHILE_TRAINING, ours="tl_temperature: 0", ppo=_instead("tl_temperature: 0")),
    row("temperature", 0.5, every=_WHILE_TRAINING, ours="tl_temperature", ppo=_instead("tl_temperature")),
    row("top_p", 0.5, every=_WHILE_TRAINING, ours="tl_top_p", ppo=_instead("tl_top_p")),
    row("top_k", 5, every=_WHILE_TRAINING, ours="tl_top_k", ppo=_instead("tl_top_k")),
    row("max_new_tokens", 8, every=_WHILE_TRAINING, ours="tl_max_new_tokens", ppo=_instead("tl_max_new_tokens")),
    row("max_length", 64, every=_WHILE_TRAINING, ppo=_instead("tl_max_new_tokens, which leaves the prompt out")),
    row(
        "num_beams",
        2,
        every=_WHILE_TRAINING,
        ppo=refused("does not work with {method}, which samples its responses; remove it"),
    ),
    *group(
        {"repetition_penalty": 1.2, "length_penalty": 0.5},
        every=_WHILE_TRAINING,
        ppo=refused("would change the probabilities that {method} learns from; remove it"),
    ),
    row("skip_special_tokens", False, every=_WHILE_TRAINING),
)
