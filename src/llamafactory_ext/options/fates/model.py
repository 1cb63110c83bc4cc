"""Rows of the options about the model: loading, adapters, tokens, attention, media, other engines."""

from typing import Final

from ...methods import names
from ..values import Choice, Number, Switch, Text
from .conditions import rope_problems
from .modules import expert_problems, liger_problems
from .quantized import quantization_problems
from .row import Row, group, idle, refused, row

_OTHER_ENGINE: Final = refused("replaces the model's forwards, which {method} reads and replaces itself; remove it")
_OF_GENERATION: Final = idle("has no effect while {method} trains; it is for chat, api and prediction")
_OF_EXPORT: Final = idle("has no effect while {method} trains; it is for the command export")
_SERVED: Final = idle("has no effect while {method} trains; it is for chat and api with its engine")
_MEDIA: Final = "acts on pictures, videos and sound; the trial trains on text"

_LOADING: Final[tuple[Row, ...]] = (
    row("model_name_or_path", "$other_model", takes=Text()),
    row("adapter_name_or_path", "$adapter", takes=Text()),
    row("adapter_folder", "inner", takes=Text(), of="adapter_name_or_path"),
    row("cache_dir", "$folder", takes=Text(), shows="nothing"),
    row("use_fast_tokenizer", False, takes=Switch(), shows="nothing", note="PKT needs a fast tokenizer"),
    row("split_special_tokens", True, takes=Switch()),
    row("model_revision", takes=Text(), untried="names a revision on a hub"),
    row("low_cpu_mem_usage", False, takes=Switch(), shows="nothing"),
    row("train_from_scratch", True, takes=Switch()),
    row("offload_folder", "$folder", takes=Text(), shows="nothing"),
    row("use_kv_cache", False, takes=Switch(), every=_OF_GENERATION),
    row("infer_dtype", "float32", every=_OF_GENERATION),
    row("infer_backend", "vllm", every=refused("is for chat and api, training knows huggingface alone; remove it")),
    row("hf_hub_token", "token", takes=Text(), shows="nothing"),
    row("ms_hub_token", "token", takes=Text(), shows="nothing"),
    row("om_hub_token", "token", takes=Text(), shows="nothing"),
    row("trust_remote_code", True, takes=Switch(), shows="nothing"),
    row("print_param_status", True, takes=Switch(), shows="nothing"),
)

_TOKENS: Final[tuple[Row, ...]] = (
    row(
        "resize_vocab",
        True,
        takes=Switch(),
        note="adds rows only where the tokenizer has more tokens than the model",
    ),
    row("add_tokens", "brandnew", takes=Text()),
    row("add_special_tokens", "<|brandnew|>", takes=Text()),
    row("new_special_tokens_config", "$tokens", takes=Text()),
    row("init_special_tokens", "desc_init", takes=Choice(("noise_init", "desc_init", "desc_init_w_noise"))),
)

_ATTENTION: Final[tuple[Row, ...]] = (
    row(
        "rope_scaling",
        "linear",
        takes=Choice(("linear", "dynamic", "yarn", "llama3")),
        check=rope_problems,
        shows="nothing",
        note="LLaMA-Factory turns it off where cutoff_len is within the model's own length",
    ),
    row("flash_attn", "disabled", takes=Choice(("auto", "disabled", "sdpa", "fa2", "fa3"))),
    row(
        "shift_attn",
        True,
        takes=Switch(),
        every=refused("needs transformers below 4.48, and {method} a newer one; remove it"),
    ),
    row("disable_gradient_checkpointing", True, takes=Switch(), shows="nothing"),
    row("use_reentrant_gc", False, takes=Switch(), shows="nothing"),
    row("use_unsloth_gc", True, takes=Switch(), untried="moves activations to a GPU"),
    row("upcast_layernorm", True, takes=Switch(), shows="nothing", note="the trial's model has 32 bits"),
    row("upcast_lmhead_output", True, takes=Switch(), shows="nothing", note="losses are formed in 32 bits anyway"),
    row(
        "use_v1_kernels",
        True,
        takes=Switch(),
        shows="nothing",
        note="its kernels are for NPUs and for experts on CUDA; tests/training/test_kernels.py has a stand-in",
    ),
    row(
        "enable_liger_kernel",
        True,
        takes=Switch(),
        needs="liger_kernel",
        check=liger_problems,
        untried="needs a GPU; tests/training/test_liger.py has a stand-in for its kernels",
        note="its loss knows no weights of single tokens and stays unused: ours forms no full logits either",
    ),
    row(
        "moe_aux_loss_coef",
        0.1,
        takes=Number(0),
        check=expert_problems,
        shows="nothing",
        note="acts on mixtures of experts, the trial's model is none",
    ),
    row(
        "mixture_of_depths",
        "convert",
        takes=Choice(("convert", "load")),
        every=refused(
            "needs the package mixture-of-depth, which no transformers that {method} takes can import; remove it"
        ),
        always=True,
    ),
    row("use_unsloth", True, takes=Switch(), every=_OTHER_ENGINE, always=True),
    row("use_kt", True, takes=Switch(), every=_OTHER_ENGINE, always=True),
)

_QUANTIZATION: Final[tuple[Row, ...]] = (
    row(
        "quantization_bit",
        takes=Number(2, 8, whole=True),
        check=quantization_problems,
        untried=f"needs bitsandbytes; tests/{names()[0]}/run/test_quantized.py",
    ),
    *group(
        {"quantization_method": None, "quantization_type": None, "double_quantization": None},
        of="quantization_bit",
        untried="acts with quantization_bit",
    ),
    row("quantization_device_map", "auto", every=refused("cannot be used in training; remove it")),
)

MODEL_ROWS: Final[tuple[Row, ...]] = (
    *_LOADING,
    *_TOKENS,
    *_ATTENTION,
    *_QUANTIZATION,
    *group(
        {
            "image_max_pixels": 4096,
            "image_min_pixels": 64,
            "image_do_pan_and_scan": True,
            "crop_to_patches": True,
            "video_max_pixels": 4096,
            "video_min_pixels": 64,
            "video_fps": 1.0,
            "video_maxlen": 8,
            "use_audio_in_video": True,
            "audio_sampling_rate": 8000,
        },
        shows="nothing",
        note=_MEDIA,
    ),
    *group(
        {
            "kt_weight_path": "weights",
            "kt_non_expert_weight_path": "weights",
            "kt_expert_checkpoint_path": "weights",
            "kt_cpu_activation": "retain",
            "kt_use_lora_experts": True,
            "kt_lora_expert_num": 2,
            "kt_lora_expert_intermediate_size": 8,
            "kt_config": {"kt_threads": 2},
        },
        every=refused("belongs to use_kt, which does not work with {method}; remove it"),
    ),
    row(
        "export_quantization_bit",
        4,
        every=refused("would quantize the model as it is loaded for training; remove it, and give it to export"),
    ),
    *group(
        {
            "export_dir": "$folder",
            "export_size": 2,
            "export_device": "auto",
            "export_quantization_dataset": "data.json",
            "export_quantization_nsamples": 8,
            "export_quantization_maxlen": 64,
            "export_legacy_format": True,
            "export_hub_model_id": "me/model",
        },
        every=_OF_EXPORT,
    ),
    *group(
        {
            "vllm_maxlen": 128,
            "vllm_gpu_util": 0.5,
            "vllm_enforce_eager": True,
            "vllm_max_lora_rank": 8,
            "vllm_config": "{}",
            "sglang_maxlen": 128,
            "sglang_mem_fraction": 0.5,
            "sglang_tp_size": 1,
            "sglang_config": "{}",
            "sglang_lora_backend": "flashinfer",
        },
        every=_SERVED,
    ),
)
