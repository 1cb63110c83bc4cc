"""Rows of transformers' and LLaMA-Factory's training options about evaluation, logging, checkpoints and hubs."""

from typing import Final

from ..values import Choice, Number, Switch, Text
from .conditions import (
    best_model_problems,
    evaluation_problems,
    hub_problems,
    resume_problems,
    tracker_problems,
)
from .row import Row, group, refused, row

_STEPS: Final = {"eval_strategy": "steps", "eval_steps": 1, "val_size": 0.25}
_EACH: Final = {"save_strategy": "steps", "save_steps": 1}
_PREDICTION: Final = refused(
    "does not work while {method} trains; remove it, and predict with the finished model by a second command: "
    "do_predict: true and predict_with_generate: true without do_train"
)
_STEP: Final = Number(0, open_low=True)
_LEVEL: Final = Choice(("detail", "debug", "info", "warning", "error", "critical", "passive"))

_EVALUATION: Final[tuple[Row, ...]] = (
    row("do_train", takes=Switch(), untried="every run says it"),
    row("do_eval", True, takes=Switch(), beside={"val_size": 0.25}, shows="file eval_results.json"),
    row("do_predict", True, takes=Switch(), every=_PREDICTION),
    row("predict_with_generate", True, takes=Switch(), every=_PREDICTION),
    row(
        "eval_strategy",
        "steps",
        takes=Choice(("no", "steps", "epoch")),
        beside={"val_size": 0.25, "eval_steps": 1},
        check=evaluation_problems,
        shows="log eval_",
    ),
    row("eval_steps", 1, takes=_STEP, beside={"eval_strategy": "steps", "val_size": 0.25}, shows="log eval_"),
    row("eval_delay", 1, takes=Number(0), beside=_STEPS, shows="nothing"),
    row("eval_on_start", True, takes=Switch(), beside=_STEPS, check=evaluation_problems, shows="log eval_"),
    row("per_device_eval_batch_size", 1, takes=Number(1, whole=True), shows="nothing"),
    *group(
        {
            "prediction_loss_only": True,
            "eval_do_concat_batches": False,
            "eval_use_gather_object": True,
            "eval_accumulation_steps": 1,
            "include_for_metrics": ["loss"],
            "batch_eval_metrics": True,
        },
        beside={"do_eval": True, "val_size": 0.25},
        shows="nothing",
    ),
    row("bf16_full_eval", True, takes=Switch(), beside={"do_eval": True, "val_size": 0.25}, shows="nothing"),
    row("fp16_full_eval", takes=Switch(), untried="needs a GPU"),
)

_LOGGING: Final[tuple[Row, ...]] = (
    row("logging_strategy", "epoch", takes=Choice(("no", "steps", "epoch")), shows="nothing"),
    row("logging_steps", 2, takes=_STEP, shows="nothing"),
    row("logging_first_step", True, takes=Switch(), shows="nothing"),
    row("log_on_each_node", False, takes=Switch(), shows="nothing"),
    row("logging_nan_inf_filter", False, takes=Switch(), shows="nothing"),
    row("include_num_input_tokens_seen", True, shows="log num_input_tokens_seen"),
    row("include_tokens_per_second", True, takes=Switch(), shows="nothing"),
    row("log_level", "error", takes=_LEVEL, shows="nothing"),
    row("log_level_replica", "error", takes=_LEVEL, shows="nothing"),
    row("disable_tqdm", True, takes=Switch(), shows="nothing"),
    row("report_to", "tensorboard", check=tracker_problems, shows="file events.out.tfevents*"),
    row("run_name", "first", takes=Text(), shows="nothing"),
    row("logging_dir", "$folder", takes=Text(), shows="nothing"),
    *group(
        {
            "project": "mine",
            "trackio_space_id": "me/space",
            "trackio_bucket_id": "me/bucket",
            "trackio_static_space_id": "me/space",
        },
        shows="nothing",
        note="acts with report_to: trackio",
    ),
    row("enable_torch_profiler", True, takes=Switch(), shows="file profiler/rank_0/*", beside={"max_steps": 4}),
    *group(
        {
            "profiler_output_dir": "$folder",
            "profiler_wait_steps": 0,
            "profiler_warmup_steps": 0,
            "profiler_active_steps": 2,
            "profiler_repeat": 2,
            "profiler_record_shapes": False,
            "profiler_profile_memory": False,
            "profiler_with_stack": False,
        },
        of="enable_torch_profiler",
        beside={"enable_torch_profiler": True},
        shows="nothing",
    ),
    row("profile_modules", "*.mlp", takes=Text(), shows="nothing"),
)

_CHECKPOINTS: Final[tuple[Row, ...]] = (
    row("output_dir", takes=Text(), untried="every run says it"),
    row("overwrite_output_dir", True, takes=Switch(), shows="nothing"),
    row("resume_from_checkpoint", True, check=resume_problems, shows="nothing"),
    row(
        "save_strategy",
        "epoch",
        takes=Choice(("no", "steps", "epoch", "best")),
        check=best_model_problems,
        shows="nothing",
    ),
    row("save_steps", 1, takes=_STEP, beside={"save_strategy": "steps"}, shows="nothing"),
    row("save_total_limit", 1, takes=Number(1, whole=True), beside=_EACH, shows="nothing"),
    row("save_only_model", True, takes=Switch(), beside=_EACH, shows="nothing"),
    row("save_on_each_node", True, takes=Switch(), shows="nothing", note=""),
    row("save_safetensors", True, takes=Switch(), shows="nothing"),
    row(
        "enable_jit_checkpoint",
        True,
        takes=Switch(),
        every=refused("writes where the checkpoints of {method} are made; remove it, and set save_steps"),
    ),
    row(
        "load_best_model_at_end",
        True,
        takes=Switch(),
        check=best_model_problems,
        beside=_STEPS | _EACH,
        shows="log eval_",
    ),
    row(
        "metric_for_best_model",
        "eval_loss",
        takes=Text(),
        check=best_model_problems,
        beside=_STEPS | _EACH,
        shows="nothing",
    ),
    row("greater_is_better", True, takes=Switch(), beside=_STEPS | _EACH | {"load_best_model_at_end": True}),
    row("push_to_hub", True, takes=Switch(), check=hub_problems, shows="refused"),
    *group(
        {
            "hub_token": "token",
            "hub_private_repo": True,
            "hub_model_id": "me/model",
            "hub_strategy": "end",
            "hub_always_push": True,
            "hub_revision": "main",
        },
        shows="nothing",
        of="push_to_hub",
    ),
)

SAVING_ROWS: Final[tuple[Row, ...]] = (*_EVALUATION, *_LOGGING, *_CHECKPOINTS)

# Those of transformers 4, which newer versions have dropped; LLaMA-Factory gives none of them a meaning of its own.
OLD_ROWS: Final[tuple[Row, ...]] = group(
    dict.fromkeys(
        (
            "_n_gpu",
            "adafactor",
            "fp16_backend",
            "fp16_opt_level",
            "fsdp_min_num_params",
            "fsdp_transformer_layer_cls_to_wrap",
            "half_precision_backend",
            "include_inputs_for_metrics",
            "jit_mode_eval",
            "mp_parameters",
            "no_cuda",
            "past_index",
            "per_gpu_eval_batch_size",
            "per_gpu_train_batch_size",
            "push_to_hub_model_id",
            "push_to_hub_organization",
            "push_to_hub_token",
            "ray_scope",
            "torchdynamo",
            "tpu_metrics_debug",
            "tpu_num_cores",
            "use_ipex",
            "use_legacy_prediction_loop",
            "use_mps_device",
        )
    ),
    every=refused("is an option of transformers 4 that newer versions dropped; remove it"),
    untried="transformers 5 does not have it",
)
