"""What becomes of upstream's options with `stage: tl_ppo`, with every finetuning_type."""

from __future__ import annotations

from typing import Final

from ...options.fates.row import OF_OPTIMISERS, Column, Command, Fate, idle, refused

_FATES: Final[dict[str, Fate]] = {
    "moe_aux_loss_coef": refused("adds a loss that {method} does not compute; remove it"),
    **dict.fromkeys(
        ("train_on_prompt", "mask_history"),
        refused(
            "says which tokens of the data are trained, and {method} trains on responses that it draws; remove it"
        ),
    ),
    "streaming": refused("does not work with {method}, which draws queries from all data; remove it"),
    "eval_on_each_dataset": refused(
        "does not work with {method}, which evaluates all held-out prompts together; remove it"
    ),
    **dict.fromkeys(
        ("packing", "neat_packing"), refused("joins examples, and {method} draws a response to each prompt; remove it")
    ),
    "tokenized_path": refused(
        "holds rows for supervised training, and {method} makes its prompts from records; remove it"
    ),
    "optim_target_modules": refused("has no learning rate of its own for the critic; remove it"),
    "neftune_noise_alpha": refused("adds noise to embeddings, also where {method} compares probabilities; remove it"),
    **dict.fromkeys(
        ("torch_compile", "torch_compile_backend", "torch_compile_mode"),
        refused(
            "does not work with {method}, most of whose time goes into sampling with lengths that change; remove it"
        ),
    ),
    "label_smoothing_factor": refused("is of the loss on given answers, and {method} learns from rewards; remove it"),
    **dict.fromkeys(
        ("enable_liger_kernel", "use_liger_kernel"),
        refused("was never run with {method}, which compares probabilities of its own; remove it"),
    ),
    **dict.fromkeys(
        ("fp8", "fp8_backend", "fp8_enable_fsdp_float8_all_gather"),
        refused("would compare probabilities of {method} that are computed in 8 bits; set bf16: true"),
    ),
    **dict.fromkeys(
        (
            "accelerator_config",
            "dataloader_num_workers",
            "dataloader_pin_memory",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
            "group_by_length",
            "length_column_name",
        ),
        idle("has no effect with {method}, which hands out prompts by itself"),
    ),
    "dataloader_drop_last": idle("has no effect with {method}, which always leaves out what fills no batch"),
    "train_sampling_strategy": refused(
        "has no effect with {method}, which hands out prompts by itself; set disable_shuffling"
    ),
    "per_device_eval_batch_size": idle("has no effect with {method}; set tl_rollout_batch_size"),
    **dict.fromkeys(
        (
            "prediction_loss_only",
            "eval_do_concat_batches",
            "eval_use_gather_object",
            "eval_accumulation_steps",
            "include_for_metrics",
            "batch_eval_metrics",
            "bf16_full_eval",
            "fp16_full_eval",
        ),
        idle("has no effect with {method}, which evaluates by drawing responses"),
    ),
    "include_num_input_tokens_seen": idle("has no effect with {method}, whose batches are prompts"),
    "push_to_hub": refused(
        "does not work with {method}, whose output_dir holds more than a model; remove it, and upload"
        " the finished folder with `hf upload`"
    ),
    **dict.fromkeys(
        ("module_dropout", "lora_dropout"),
        refused("is dropout, which {method} switches off to compare probabilities; remove it"),
    ),
    **dict.fromkeys(
        (
            "loraplus_lr_ratio",
            "loraplus_lr_embedding",
            "use_galore",
            "use_apollo",
            "use_badam",
            "use_adam_mini",
            "use_muon",
        ),
        refused("has no learning rate of its own for the critic, which {method} needs; remove it, and set optim"),
    ),
    "pissa_convert": refused("does not find the adapter beside the critic of {method}; remove it"),
    **dict.fromkeys(
        OF_OPTIMISERS,
        refused("has no effect with {method}; remove it"),
    ),
    "ppo_epochs": refused("is of LLaMA-Factory's stage: ppo; set tl_ppo_epochs"),
    "ppo_buffer_size": refused("is of LLaMA-Factory's stage: ppo; set tl_minibatches"),
    "ppo_target": refused("is of LLaMA-Factory's stage: ppo; set tl_kl_target"),
    "ppo_score_norm": refused("is of LLaMA-Factory's stage: ppo; set tl_whiten and tl_reward_clip"),
    "ppo_whiten_rewards": refused("is of LLaMA-Factory's stage: ppo; set tl_whiten"),
    **dict.fromkeys(
        ("ref_model", "ref_model_adapters", "ref_model_quantization_bit"),
        refused("names a second model, and {method} keeps what training began with; remove it, or set tl_reference"),
    ),
    **dict.fromkeys(
        ("reward_model", "reward_model_adapters", "reward_model_quantization_bit", "reward_model_type"),
        refused("has no place in {method}, whose rewards are rules; remove it, or set tl_reward_function"),
    ),
    "compute_accuracy": refused(
        "is of data, and {method} draws its own responses; remove it: eval_reward says how good they are"
    ),
    "include_effective_tokens_per_second": idle(
        "has no effect with {method}, which logs response_tokens and rollout_seconds"
    ),
    "do_sample": refused("is not what {method} draws responses by; set tl_temperature: 0"),
    "temperature": refused("is not what {method} draws responses by; set tl_temperature"),
    "top_p": refused("is not what {method} draws responses by; set tl_top_p"),
    "top_k": refused("is not what {method} draws responses by; set tl_top_k"),
    "max_new_tokens": refused("is not what {method} draws responses by; set tl_max_new_tokens"),
    "max_length": refused(
        "is not what {method} draws responses by; set tl_max_new_tokens, which leaves the prompt out"
    ),
    "num_beams": refused("does not work with {method}, which samples its responses; remove it"),
    **dict.fromkeys(
        ("repetition_penalty", "length_penalty"),
        refused("would change the probabilities that {method} learns from; remove it"),
    ),
}
_INSTEAD: Final = {
    "ppo_epochs": "tl_ppo_epochs",
    "ppo_buffer_size": "tl_minibatches",
    "ppo_target": "tl_kl_target",
    "do_sample": "tl_temperature: 0",
    "temperature": "tl_temperature",
    "top_p": "tl_top_p",
    "top_k": "tl_top_k",
    "max_new_tokens": "tl_max_new_tokens",
}


def pissa_problems(command: Command) -> list[str]:
    """Say what follows from a start whose principal part stands in the adapter, beside a reference without it."""
    if not command.pissa_init or command.tl_reference != "base":
        return []
    return [
        "pissa_init moves a part of the base into the adapter, which tl_reference: base turns off; set tl_reference: "
        "start"
    ]


COLUMN: Final = Column(
    fates=_FATES,
    instead=_INSTEAD,
    checks=(pissa_problems,),
    groups_weights=True,
    measures=("reward", "reward_se", "response_tokens", "cut", "empty"),
    measured_with={"tl_environment": ("success", "turns", "ended")},
    measured_parts="part_",
    beside={
        "adapter_folder": {"adapter_name_or_path": "$nested"},
        "init_special_tokens": {"new_special_tokens_config": "$tokens"},
    },
    shows={"cutoff_len": "nothing", "metric_for_best_model": "refused", "greater_is_better": "nothing"},
    notes={
        "adapter_name_or_path": "stage: tl_ppo with finetuning_type: citi goes on from the adapter that it names",
        "cutoff_len": "tl_ppo cuts no prompt: calls behind longer ones are cut (cutoff_action)",
        "logging_nan_inf_filter": "tl_ppo never filters: it would log an average in the place of what is no number",
    },
)
