"""What shapes the outcome of tl_sft and tl_ppo: kept in every checkpoint, and compared before a run goes on from one.

Left out on purpose: the number of steps, so that a run can be made longer; what is saved, logged and evaluated; where
responses are drawn and how many at once; names of data and paths, which the hash of the data stands for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint.base import fingerprint
from ..checkpoint.plans import check_newest, plain
from ..checkpoint.weight_files import stored_weights
from ..options.groups import option_names
from ..training.engines import engine_of
from ..training.processes import by_main, digest
from .ppo.options import TlPpoArguments
from .sft.options import TlArguments

_OPTIONS = (
    # of the model
    "quantization_bit",
    "rope_scaling",
    "moe_aux_loss_coef",
    # of learning
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "bf16",
    "fp16",
    "optim",
    "optim_args",
    "optim_target_modules",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "neftune_noise_alpha",
    "label_smoothing_factor",
    # of the order of the data
    "streaming",
    "buffer_size",
    "seed",
    "data_seed",
    "dataloader_drop_last",
    "train_sampling_strategy",
    "group_by_length",
    "disable_shuffling",
    # of what trains
    "finetuning_type",
    "additional_target",
    "module_dropout",
    "use_rslora",
    "use_dora",
    "use_llama_pro",
    "pissa_init",
    "use_adam_mini",
    "use_muon",
    "use_galore",
    "use_apollo",
    "use_badam",
)
_BEGIN = ("lora_", "loraplus_", "oft_", "freeze_", "galore_", "apollo_", "badam_")
_FREE = (
    "badam_verbose",
    "oft_target",
    "tl_skip_bad",
    "tl_cache",
    "tl_kl_limit",
    "tl_show_responses",
    "tl_rollout",
    "tl_rollout_url",
    "tl_rollout_timeout",
    "tl_environment_timeout",
    "tl_rollout_batch_size",
)


def plan_of(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> dict[str, Any]:
    """Return the options that a run can only go on with, by name; to be called before the model is loaded."""
    found, own = {"stage": finetuning_args.tl_stage}, option_names(TlArguments, TlPpoArguments)
    for group in (model_args, data_args, training_args, finetuning_args):
        names = [name for name in vars(group) if name in _OPTIONS or name in own or name.startswith(_BEGIN)]
        found |= {name: getattr(group, name) for name in names}
    return {name: plain(value) for name, value in found.items() if name not in _FREE}


def check_plan_of_newest(plan: dict[str, Any], training_args: Any) -> None:
    """Make sure that the checkpoint to go on from was saved by a run with the same options.

    Raises:
        CheckpointError: it was not; on every process.
    """
    named = training_args.resume_from_checkpoint
    if training_args.do_train and (named or not training_args.overwrite_output_dir):
        by_main(lambda: check_newest(Path(training_args.output_dir), Path(named) if named else None, plan))


def with_contents(plan: dict[str, Any], data: str, model: Any, model_args: Any, training_args: Any) -> dict[str, Any]:
    """Return the plan with hashes of the training data and of the base model.

    A base into which an adapter is merged, or whose principal part PiSSA moves, is known by the files that it is
    made of: what the computation gives differs between devices.
    """
    contents = {"training data (hash)": data}
    adapters = [Path(name, model_args.adapter_folder or "") for name in model_args.adapter_name_or_path or ()]
    if adapters or plan.get("pissa_init"):
        if base := stored_weights([model_args.model_name_or_path]):
            contents["base model's files (hash)"] = digest(base)
        if merged := stored_weights(adapters):
            contents["adapters' files (hash)"] = digest(merged)
    elif engine_of(training_args) is None:
        contents["base model (hash)"] = digest(fingerprint(model))
    return plan | contents
