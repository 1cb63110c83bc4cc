"""Rows of the options about fine-tuning: optimisers, losses, other stages, reports."""

from typing import Final

from ..values import Number, Switch, Text
from .conditions import early_stopping_problems
from .row import Row, group, idle, refused, row

_OTHER_LOSS: Final = refused("replaces the loss that {method} computes; remove it")
_OTHER_ENGINE: Final = refused("trains by an engine of its own, which knows no {method}; remove it")
_OTHER_STAGE: Final = idle("has no effect with {method}; it is of another stage")


_OPTIMISERS: Final[tuple[Row, ...]] = (
    row("use_galore", True, takes=Switch(), beside={"finetuning_type": "full"}, needs="galore_torch"),
    row("use_apollo", True, takes=Switch(), beside={"finetuning_type": "full"}, needs="apollo_torch"),
    row("use_badam", True, takes=Switch(), beside={"finetuning_type": "full"}, needs="badam"),
    row("use_adam_mini", True, takes=Switch(), needs="adam_mini"),
    row("use_muon", True, takes=Switch()),
    *group(
        {
            "galore_target": "q_proj",
            "galore_rank": 8,
            "galore_update_interval": 100,
            "galore_scale": 1.0,
            "galore_proj_type": "right",
        },
        of="use_galore",
        untried="needs galore_torch",
    ),
    *group(
        {"galore_layerwise": True, "apollo_layerwise": True},
        every=refused("keeps an optimiser per weight, which no checkpoint of {method} holds; remove it"),
    ),
    *group(
        {
            "apollo_target": "q_proj",
            "apollo_rank": 8,
            "apollo_update_interval": 100,
            "apollo_scale": 16.0,
            "apollo_proj": "svd",
            "apollo_proj_type": "right",
            "apollo_scale_type": "tensor",
            "apollo_scale_front": True,
        },
        of="use_apollo",
        untried="needs apollo_torch",
    ),
    *group(
        {
            "badam_mode": "ratio",
            "badam_start_block": 1,
            "badam_switch_mode": "random",
            "badam_switch_interval": 10,
            "badam_update_ratio": 0.1,
            "badam_mask_mode": "scatter",
            "badam_verbose": 1,
        },
        of="use_badam",
        untried="needs badam",
    ),
    row("pure_bf16", True, takes=Switch(), untried="needs a GPU"),
)

_LOSSES: Final[tuple[Row, ...]] = (
    *group({"use_dft_loss": True, "use_asft_loss": True, "use_eaft_loss": True}, takes=Switch(), every=_OTHER_LOSS),
    *group({"asft_alpha": 0.2, "eaft_alpha": 0.5}, every=idle("belongs to a loss that {method} does not compute")),
    *group(
        {"use_mca": True, "use_megatron_bridge": True, "use_hyper_parallel": True},
        takes=Switch(),
        every=_OTHER_ENGINE,
    ),
    *group(
        {"hyper_parallel_args": "args.json", "hyper_parallel_cp_size": 2},
        every=refused("belongs to use_hyper_parallel, which does not work with {method}; remove it"),
    ),
    *group(
        {
            "pref_beta": 0.2,
            "pref_ftx": 0.5,
            "pref_bco_weight": 0.5,
            "pref_loss": "ipo",
            "dpo_label_smoothing": 0.1,
            "kto_chosen_weight": 0.5,
            "kto_rejected_weight": 0.5,
            "simpo_gamma": 0.1,
            "ld_alpha": 0.5,
        },
        every=_OTHER_STAGE,
    ),
    row("ppo_epochs", 2, every=_OTHER_STAGE),
    row("ppo_buffer_size", 2, every=_OTHER_STAGE),
    row("ppo_target", 3.0, every=_OTHER_STAGE),
    row("ppo_score_norm", True, every=_OTHER_STAGE),
    row("ppo_whiten_rewards", True, every=_OTHER_STAGE),
    *group(
        {"ref_model": "$other_model", "ref_model_adapters": "$adapter", "ref_model_quantization_bit": 4},
        every=_OTHER_STAGE,
    ),
    *group(
        {
            "reward_model": "$other_model",
            "reward_model_adapters": "$adapter",
            "reward_model_quantization_bit": 4,
            "reward_model_type": "api",
        },
        every=_OTHER_STAGE,
    ),
)

_REPORTS: Final[tuple[Row, ...]] = (
    row("use_swanlab", True, takes=Switch(), needs="swanlab"),
    *group(
        {
            "swanlab_project": "mine",
            "swanlab_workspace": "ours",
            "swanlab_run_name": "first",
            "swanlab_mode": "local",
            "swanlab_api_key": "key",
            "swanlab_logdir": "$folder",
            "swanlab_lark_webhook_url": "https://localhost",
            "swanlab_lark_secret": "secret",
        },
        of="use_swanlab",
        untried="needs swanlab",
    ),
    row(
        "compute_accuracy",
        True,
        takes=Switch(),
        beside={"do_eval": True, "val_size": 0.25},
        shows="file eval_results.json",
    ),
    row("disable_shuffling", True, takes=Switch()),
    row(
        "early_stopping_steps",
        1,
        takes=Number(1, whole=True),
        check=early_stopping_problems,
        beside={"eval_strategy": "steps", "eval_steps": 1, "val_size": 0.25},
        shows="log eval_",
    ),
    row("plot_loss", True, takes=Switch(), needs="matplotlib", shows="file *training_loss.png"),
    row("include_effective_tokens_per_second", True, takes=Switch(), shows="nothing"),
    *group(
        {"freeze_vision_tower": False, "freeze_multi_modal_projector": False},
        shows="nothing",
        note="acts on models for pictures; the trial has none",
    ),
    row(
        "freeze_language_model",
        True,
        takes=Switch(),
        shows="nothing",
        note="acts on models for pictures; the trial has none",
    ),
    row("stage", takes=Text(), untried="every run says it"),
    row("finetuning_type", takes=Text(), untried="every run says it"),
)

FINETUNING_ROWS: Final[tuple[Row, ...]] = (*_OPTIMISERS, *_LOSSES, *_REPORTS)

MEGATRON_ROWS: Final[tuple[Row, ...]] = group(
    dict.fromkeys(
        (
            "tensor_model_parallel_size",
            "pipeline_model_parallel_size",
            "expert_model_parallel_size",
            "context_parallel_size",
            "virtual_pipeline_model_parallel_size",
            "sequence_parallel",
            "recompute_granularity",
            "recompute_method",
            "recompute_num_layers",
            "account_for_embedding_in_pipeline_split",
            "account_for_loss_in_pipeline_split",
            "bias_activation_fusion",
            "apply_rope_fusion",
            "masked_softmax_fusion",
            "cross_entropy_loss_fusion",
            "moe_grouped_gemm",
            "moe_token_dispatcher_type",
            "calculate_per_token_loss",
            "use_distributed_optimizer",
            "overlap_param_gather",
            "overlap_grad_reduce",
            "use_packed_sequences",
            "mixed_precision",
            "megatron_pretrained_checkpoint",
            "export_hf_on_finish",
            "extra_config",
        )
    ),
    every=refused("belongs to Megatron Bridge, which does not work with {method}; remove it"),
    untried="an option only while USE_MEGATRON_BRIDGE is set, which is refused",
)
