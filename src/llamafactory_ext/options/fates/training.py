"""Rows of transformers' and LLaMA-Factory's training options about what is learned and on which hardware."""

from typing import Final

from ..values import Choice, Number, Switch, Text
from .conditions import optimiser_problems, recomputation_problems, scheduler_problems
from .hardware import accelerator_problems, compiler_problems, float8_problems, fsdp_start_problems
from .modules import liger_problems
from .row import Row, group, idle, refused, row

_EAGER: Final = {"torch_compile": True, "torch_compile_backend": "eager"}
_OWN_GENERATION: Final = refused("is for prediction, which {method} does not do while it trains; remove it")
_OWN_RECOMPUTATION: Final = refused(
    "is not read beside LLaMA-Factory's own recomputation; remove it, and set use_reentrant_gc"
)
_RAY: Final = "acts where USE_RAY=1 starts the training"
_SEVERAL: Final = "acts with several processes"

_LEARNING: Final[tuple[Row, ...]] = (
    row("per_device_train_batch_size", 1, takes=Number(1, whole=True)),
    row("num_train_epochs", 0.25, takes=Number(0, open_low=True), beside={"max_steps": None}),
    row("max_steps", 1, takes=Number(-1, whole=True)),
    row("learning_rate", 1e-2, takes=Number(0)),
    row("lr_scheduler_type", "constant", check=scheduler_problems),
    row(
        "lr_scheduler_kwargs",
        {"num_cycles": 4},
        check=scheduler_problems,
        beside={"lr_scheduler_type": "cosine_with_restarts"},
        shows="weights",
    ),
    row("warmup_steps", 2, takes=Number(0)),
    row("warmup_ratio", 0.9, takes=Number(0, 1)),
    row("optim", "adafactor", check=optimiser_problems),
    row("optim_args", "momentum=0.9", beside={"optim": "sgd"}, check=optimiser_problems),
    row("optim_target_modules", "q_proj"),
    row("weight_decay", 0.5, takes=Number(0)),
    row("adam_beta1", 0.2, takes=Number(0, 1, open_high=True)),
    row("adam_beta2", 0.5, takes=Number(0, 1, open_high=True)),
    row("adam_epsilon", 1e-2, takes=Number(0)),
    row("gradient_accumulation_steps", 2, takes=Number(1, whole=True)),
    row(
        "average_tokens_across_devices",
        False,
        takes=Switch(),
        every=idle("has no effect with {method}, whose loss is a mean over the tokens of all processes"),
    ),
    row("max_grad_norm", 1e-3, takes=Number(0)),
    row("label_smoothing_factor", 0.1, takes=Number(0, 1)),
    row("neftune_noise_alpha", 5, takes=Number(0)),
    row("bf16", True, takes=Switch()),
    row("fp16", True, takes=Switch(), untried="needs a GPU"),
    row("tf32", True, takes=Switch(), untried="needs a GPU"),
    row("seed", 8, takes=Number(0, 2**32 - 1, whole=True)),
    row("data_seed", 9, takes=Number(0, 2**32 - 1, whole=True)),
    row("full_determinism", True, takes=Switch(), shows="nothing"),
    *group(
        {"fp8": True, "fp8_backend": "te", "fp8_enable_fsdp_float8_all_gather": True},
        check=float8_problems,
        untried="needs torchao and a GPU that computes in 8 bits; tests/training/test_float8.py has a stand-in",
    ),
)

_HARDWARE: Final[tuple[Row, ...]] = (
    row(
        "gradient_checkpointing",
        True,
        takes=Switch(),
        check=recomputation_problems,
        beside={"use_reentrant_gc": False},
        shows="nothing",
        note="LLaMA-Factory recomputes activations anyway, unless disable_gradient_checkpointing says otherwise",
    ),
    row(
        "gradient_checkpointing_kwargs",
        {"use_reentrant": False},
        every=_OWN_RECOMPUTATION,
    ),
    row(
        "activation_checkpointing",
        True,
        takes=Switch(),
        check=recomputation_problems,
        beside={"use_reentrant_gc": False},
        shows="nothing",
        note="the newer name of gradient_checkpointing",
    ),
    row("activation_checkpointing_kwargs", {"use_reentrant": False}, every=_OWN_RECOMPUTATION),
    *group(
        _EAGER,
        along=_EAGER,
        check=compiler_problems,
        shows="nothing",
        note="the trial compiles without an optimising backend",
    ),
    row("torch_compile_mode", check=compiler_problems, untried="needs minutes of an optimising compiler"),
    row(
        "use_liger_kernel",
        True,
        takes=Switch(),
        needs="liger_kernel",
        check=liger_problems,
        untried="needs a GPU; tests/training/test_liger.py has a stand-in for its kernels",
        note="taken as enable_liger_kernel, which replaces the modules before the method looks at them",
    ),
    row(
        "liger_kernel_config",
        {"rope": True},
        every=refused("chooses among Liger's kernels, and LLaMA-Factory's own switch takes them all; remove it"),
    ),
    row("use_cache", True, takes=Switch(), shows="nothing"),
    row("torch_empty_cache_steps", 1, takes=Number(1, whole=True), shows="nothing"),
    row(
        "auto_find_batch_size",
        True,
        takes=Switch(),
        every=refused(
            "would begin the steps anew with weights that some of them have moved; remove it, and set a batch size "
            "that fits (`dry_run: true` estimates the memory)"
        ),
    ),
    row("use_cpu", takes=Switch(), untried="every run says it"),
    row("accelerator_config", {"use_seedable_sampler": False}, check=accelerator_problems),
    row(
        "parallelism_config",
        {"tp_size": 2},
        every=refused("takes an object of accelerate, which no file can hold; remove it"),
    ),
    row("fsdp", check=fsdp_start_problems, untried="needs several processes; tests/tl/ppo/test_engines.py"),
    row("fsdp_config", untried="acts with fsdp"),
    row("deepspeed", needs="deepspeed", untried="needs deepspeed and several processes"),
    *group(
        {
            "ddp_find_unused_parameters": True,
            "ddp_bucket_cap_mb": 5,
            "ddp_broadcast_buffers": False,
            "ddp_timeout": 60,
            "ddp_static_graph": True,
        },
        shows="nothing",
        note=_SEVERAL,
    ),
    row(
        "ddp_backend",
        takes=Choice(("nccl", "gloo", "mpi", "ccl", "hccl", "cncl", "mccl", "xccl")),
        untried="ends a run of one process: transformers asks for a process group",
    ),
    row("local_rank", 0, every=refused("is said by the launcher alone; remove it")),
    row(
        "debug",
        "underflow_overflow",
        shows="nothing",
        note="looks at each layer's output, so that weights differ by rounding where ours computes several at once",
    ),
    row("skip_memory_metrics", False, takes=Switch(), shows="nothing"),
    *group(
        {"ray_num_workers": 2, "ray_init_kwargs": {"num_cpus": 2}, "master_addr": "127.0.0.1", "master_port": "29500"},
        of="USE_RAY",
        untried=_RAY,
    ),
)

_ORDER: Final[tuple[Row, ...]] = (
    row("dataloader_drop_last", True, takes=Switch(), beside={"per_device_train_batch_size": 3, "max_steps": 7}),
    row("dataloader_num_workers", 1, takes=Number(0, whole=True), shows="nothing"),
    row("dataloader_pin_memory", False, takes=Switch(), shows="nothing"),
    row("dataloader_persistent_workers", True, takes=Switch(), beside={"dataloader_num_workers": 1}, shows="nothing"),
    row(
        "dataloader_prefetch_factor",
        2,
        takes=Number(1, whole=True),
        beside={"dataloader_num_workers": 1},
        shows="nothing",
    ),
    row(
        "dataloader_multiprocessing_context",
        "fork",
        takes=Choice(("fork", "spawn", "forkserver")),
        beside={"dataloader_num_workers": 1},
        shows="nothing",
    ),
    row(
        "dataloader_in_order",
        False,
        takes=Switch(),
        every=refused("would let time decide the order of batches, so that no run resumes exactly; remove it"),
    ),
    row("remove_unused_columns", False, takes=Switch(), shows="nothing", note="LLaMA-Factory always sets it to false"),
    row("label_names", ["answers"], every=refused("names labels that the data does not have; remove it")),
    row("train_sampling_strategy", "sequential", takes=Choice(("random", "sequential", "group_by_length"))),
    row("group_by_length", True, takes=Switch()),
    row("length_column_name", "size", takes=Text(), shows="nothing"),
    row("sortish_sampler", True, every=idle("has no effect in LLaMA-Factory")),
    row("ignore_data_skip", True, takes=Switch(), shows="nothing", note="acts where a run goes on"),
    row("restore_callback_states_from_checkpoint", True, takes=Switch(), shows="nothing"),
    *group(
        {"generation_max_length": 64, "generation_num_beams": 2, "generation_config": "$other_model"},
        every=_OWN_GENERATION,
    ),
)

TRAINING_ROWS: Final[tuple[Row, ...]] = (*_LEARNING, *_HARDWARE, *_ORDER)
