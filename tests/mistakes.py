"""The mistakes of a first day: what each command says wrongly, and what its message must name.

A row is a mistake; it is tried with every method. `$name` in a value stands for a path of the world that
`mistake_world.make_world` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import option_runs

METHODS: dict[str, dict[str, Any]] = {
    **option_runs.METHODS,
    "tl_sft+citi": {**option_runs.METHODS["citi"], "stage": "tl_sft", "tl_use_mae": False},
    "lora": {"stage": "sft", "finetuning_type": "lora"},
    "full": {"stage": "sft", "finetuning_type": "full"},
}
BASELINES = ("lora", "full")
CITI = ("citi", "tl_sft+citi")
OURS = ("tl_sft", "tl_ppo", *CITI)
LOADERS = (*OURS, *BASELINES)  # what reads data from elsewhere through LLaMA-Factory


@dataclass(frozen=True)
class Mistake:
    """One wrong command.

    Attributes:
        name: of the row.
        says: words that the message must hold, the names of file, field or option among them.
        options: what the command says otherwise than the right one; None leaves an option out.
        yaml: makes of the right file's text the wrong one.
        words: further words of the command line.
        file: the name of the file in the command, in the place of the one that is written.
        methods: those that it is a mistake with; () for all.
        packages: what this environment must lack.
        environment: variables of the command.
    """

    name: str
    says: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    yaml: Callable[[str], str | bytes] | None = field(default=None, hash=False)
    words: tuple[str, ...] = ()
    file: str = ""
    methods: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)


def _of(name: str, *says: str, **parts: Any) -> Mistake:
    own = {
        key: parts.pop(key) for key in ("yaml", "words", "file", "methods", "packages", "environment") if key in parts
    }
    return Mistake(name, says, parts, **own)


def _data(name: str, *says: str, methods: tuple[str, ...] = ()) -> Mistake:
    return Mistake(name, says, {"dataset": name.removeprefix("data "), "dataset_dir": "$wrong_data"}, methods=methods)


def _model(name: str, *says: str) -> Mistake:
    return Mistake(
        name, ("model_name_or_path", *says), {"model_name_or_path": f"$models/{name.removeprefix('model ')}"}
    )


# Values of an entry of dataset_info.json, by the key that the message must name.
ENTRIES: dict[str, Any] = {
    "num_samples": "x",
    "ranking": "maybe",
    "split": 3,
    "file_name": "x" * 400,
    "subset": ["a"],
    "folder": 3,
    "columns": {"prompt": 3, "response": "output"},
    "tags": ["from"],
    "hf_hub_url": 3,
    "script_url": "no_script",
    "cloud_file_name": "no/such.json",
}
# Addresses that nothing answers at from here, by the words that the message must hold.
UNREACHABLE: dict[str, str] = {
    "hf_hub_url": "nobody/nothing",
    "om_hub_url": "nobody/nothing",
    "cloud_file_name": "s3://nobody/nothing.json",
}
KEYS = {"number": "3: 4\n", "switch": "true: 4\n", "null": "null: 4\n", "date": "2020-01-01: 4\n", "text": "'': 4\n"}
KEYS |= {"fraction": "1.5: 4\n", "list": "? [1, 2]\n: 4\n"}
VARIABLES = (
    ("NPROC_PER_NODE", "abc"),
    ("NPROC_PER_NODE", "0"),
    ("NNODES", "two"),
    ("NODE_RANK", "abc"),
    ("NODE_RANK", "2"),
    ("MASTER_PORT", "99999"),
)
# Folders of adapters by name, likewise.
ADAPTERS: dict[str, tuple[str, ...]] = {
    "of one half": ("lacks base_model.model.", "lora_B.weight"),
    "of fewer layers": ("lacks base_model.model.model.layers.1",),
    "changed": ("is not what was saved", "adapter_seal.json"),
}
# Folders of models by name, and what is said of each.
DAMAGED: dict[str, tuple[str, ...]] = {
    "garbage.bin": ("pytorch_model.bin", "is not whole"),
    "cut.bin": ("pytorch_model.bin", "is not whole"),
    "list.bin": ("pytorch_model.bin", "no tensors by name"),
    "other.bin": ("none of its tensors has a name of a llama",),
    "link.bin": ("pytorch_model.bin", "git-lfs"),
    "link": ("model.safetensors", "git-lfs"),
    "rope": ("config.json", "KeyError: 'foo'"),
    "activation": ("config.json", "KeyError: 'foo'"),
    "no_layers": ("config.json", "num_hidden_layers is 0"),
    "padding": ("config.json", "Padding_idx"),
    "ends": ("generation_config.json", "eos_token_id"),
    "special_tokens": ("special_tokens_map.json",),
    "no_pieces": ("tokenizer.json", "holds no tokenizer"),
}
# Folders of models by the method that has quantized them, and the package that it needs.
QUANTIZED = {"bitsandbytes": "bitsandbytes", "gptq": "optimum", "awq": "gptqmodel", "hqq": "hqq"}
# Lists with something in them that is no name.
LISTS: dict[str, Any] = {
    "a number": ["tiny", 3],
    "a list": [["tiny"]],
    "an object": [{"tiny": 1}],
    "null": ["tiny", None],
}


MISTAKES: tuple[Mistake, ...] = (
    # Model
    _of("model path", "model_name_or_path", "no/such/model", model_name_or_path="no/such/model"),
    _of("model path absolute", "model_name_or_path", "/no/such", model_name_or_path="/no/such/model"),
    _of("model of the hub", "model_name_or_path", "meta-llama/Nothing", model_name_or_path="meta-llama/Nothing"),
    _of("model left out", "model_name_or_path", model_name_or_path=None),
    _of("model empty", "model_name_or_path", model_name_or_path=""),
    _model("model file", "file"),
    _model("model no_config", "config.json"),
    _model("model list_generation", "generation_config.json", "delete it"),
    _model("model bad_config", "config.json"),
    _model("model list_config", "config.json"),
    _model("model no_type", "config.json"),
    _model("model unknown_type", "no_such_type"),
    _model("model encoder", "vit"),
    _model("model no_weights", "weights"),
    _model("model cut_weights", "model.safetensors"),
    _model("model no_shard", "model-00002-of-00002.safetensors"),
    _model("model no_tokenizer", "tokenizer"),
    _model("model bad_tokenizer", "tokenizer"),
    _model("model an_adapter", "adapter"),
    # Template
    _of("template", "template", "lama3", template="lama3"),
    _of("template number", "template", "3", template=3),
    # Data
    _of("dataset", "dataset", "tinny", "tiny", dataset="tinny"),
    *(_of(f"dataset of {kind}", "dataset", dataset=names) for kind, names in LISTS.items()),
    _of("dataset of nothing", "dataset names nothing", dataset=[]),
    _of("dataset an object", "dataset={'tiny': 1}", dataset={"tiny": 1}),
    _of("dataset of endless name", "dataset", "characters ...]", dataset="x" * 9999),
    _of("eval_dataset of a number", "eval_dataset=3", eval_dataset=[3], do_eval=True),
    _of("report_to of a list", "report_to=[[1]]", report_to=[[1]]),
    _of("fsdp of a number", "fsdp", "3", fsdp=[3], methods=("tl_sft", "tl_ppo", "lora")),
    _of("fsdp_config a list", "fsdp_config", fsdp_config=[1]),
    _of("dataset left out", "dataset", dataset=None),
    _of("dataset_dir", "dataset_dir", "no/such/data", dataset_dir="no/such/data"),
    _of("dataset_dir file", "tiny.json", dataset_dir="$data/tiny.json"),
    _of("dataset_info malformed", "dataset_info.json", dataset_dir="$infos/malformed"),
    _of("dataset_info list", "dataset_info.json", dataset_dir="$infos/list"),
    _of("dataset_info entry", "dataset_info.json", dataset_dir="$infos/entry"),
    _of("dataset_info no file", "dataset_info.json", "tiny", dataset_dir="$infos/no_file"),
    _of("dataset_info columns", "columns", "tiny", dataset_dir="$infos/columns"),
    _of("dataset_info formatting", "formatting", "tiny", dataset_dir="$infos/formatting"),
    _of("dataset_info bytes", "dataset_info.json", dataset_dir="$infos/bytes"),
    _data("data missing", "missing.json"),
    _data("data empty", "empty.json"),
    _data("data none", "none.json"),
    _data("data malformed", "malformed.json"),
    _data("data object", "object.json"),
    _data("data texts", "texts.json"),
    _data("data half_a_character", "half_a_character.json, index 1", "half a character", methods=("citi", "tl_sft")),
    _data("data half_a_task", "half_a_task.json, index 1", "half a character", methods=("citi",)),
    _data("data wrong_column", "wrong_column", "answer"),
    _data("data other_columns", "other_columns.json", "instruction"),
    _data("data bytes", "bytes.json"),
    _data("data suffix", "suffix.xml"),
    _data("data folder", "folder"),
    _of("eval_dataset", "eval_dataset", "tinny", eval_dataset="tinny", do_eval=True),
    _of(
        "eval_dataset file",
        "missing.json",
        dataset_dir="$wrong_data",
        dataset="good",
        eval_dataset="missing",
        do_eval=True,
    ),
    _of("val_size", "val_size", val_size=400, methods=OURS),
    _of("max_samples", "max_samples", max_samples=0),
    _of("cutoff_len", "cutoff_len", cutoff_len=1, methods=OURS),
    _of("cutoff_len eight", "cutoff_len", cutoff_len=8, methods=OURS),
    _of("cutoff_len word", "cutoff_len", cutoff_len="long"),
    # The file
    _of("yaml missing", "missing.yaml", file="$folder/missing.yaml"),
    _of("yaml folder", "folder.yaml", file="$folder/folder.yaml"),
    _of("yaml malformed", "line", yaml=lambda text: text + "learning_rate: [1e-4\nseed: {\n"),
    _of("yaml tab", "line", yaml=lambda text: text + "seed:\n\t- 3\n"),
    _of("yaml list", "list", yaml=lambda text: "".join(f"- {line}\n" for line in text.splitlines())),
    _of("yaml twice", "seed", "twice", yaml=lambda text: text + "seed: 3\nseed: 4\n"),
    _of("yaml text", "text", yaml=lambda text: text.replace(": ", "=").replace("\n", " ")),
    _of("yaml bytes", "UTF-8", yaml=lambda text: (text + "run_name: caf\u00e9\n").encode("latin-1")),
    _of("yaml interpolation", "nowhere", yaml=lambda text: text + "run_name: ${nowhere}\n"),
    _of("yaml nested", "method", yaml=lambda text: text + "method:\n  seed: 3\n"),
    _of("yaml no colon", "line", yaml=lambda text: text + "learning_rate 1e-4\n"),
    _of("word without equals", "learning_rate", words=("learning_rate", "1e-4")),
    _of("word with dashes", "--learning_rate", words=("--learning_rate", "1e-4")),
    _of("option unknown", "lerning_rate", "learning_rate", lerning_rate=1e-4),
    # Output
    _of("output below a file", "output_dir", output_dir="$folder/file/out"),
    _of("output a file", "output_dir", output_dir="$folder/file"),
    _of("output read only", "output_dir", output_dir="/proc/nowhere/out"),
    _of("output empty", "output_dir", output_dir=""),
    _of("output the model", "output_dir", "model_name_or_path", output_dir="$model"),
    _of(
        "output the model, overwritten",
        *("output_dir", "model_name_or_path"),
        output_dir="$model",
        overwrite_output_dir=True,
    ),
    _of("output the data", "output_dir", "dataset_dir", output_dir="$wrong_data", dataset_dir="$wrong_data"),
    _of("output somebody's", "output_dir", "README.md", "overwrite_output_dir", output_dir="$folder/somebody"),
    _of("a word that drops nothing", "~tempalte", "did you mean ~template", words=("~tempalte",)),
    _of("GPUs of no estimate", "dry_run_gpus", "dry_run: true", dry_run_gpus=8, methods=OURS),
    _model("model lacks a tensor", "model.layers.1.mlp.down_proj.weight"),
    _model("model of more layers", "its files lack model.layers."),
    _model("model with other names", "none of its tensors has a name of a llama"),
    _model("model of another width", "by its config.json"),
    _of(
        "importance into a folder", "citi_importance_save", "is a folder", citi_importance_save="$folder", methods=CITI
    ),
    _of("output long", "output_dir", output_dir="$folder/" + "x" * 300),
    # Adapters
    _of("adapter", "adapter_name_or_path", adapter_name_or_path="./no/such/adapter"),
    _of("adapter a file", "adapter_name_or_path", adapter_name_or_path="$folder/file"),
    _of("adapter no config", "adapter_name_or_path", adapter_name_or_path="$adapters/no_config"),
    _of("adapter bad config", "adapter_name_or_path", adapter_name_or_path="$adapters/bad_config"),
    _of("adapter no weights", "adapter_name_or_path", adapter_name_or_path="$adapters/no_weights"),
    _of("adapter cut", "adapter_name_or_path", adapter_name_or_path="$adapters/cut"),
    _of(
        "adapter of another base",
        "adapter_name_or_path",
        adapter_name_or_path="$adapters/other",
        methods=(*OURS, "lora"),  # full tuning takes no adapter, as upstream says itself
    ),
    *(
        _of(f"adapter {name}", *says, adapter_name_or_path=f"$adapters/{name}", methods=("tl_sft", "tl_ppo", "lora"))
        for name, says in ADAPTERS.items()
    ),
    _of("adapter of another kind", "adapter_name_or_path", adapter_name_or_path="$adapters/kind"),
    # Engines and packages
    _of("wandb", "wandb", report_to="wandb", packages=("wandb",)),
    _of("swanlab", "swanlab", report_to="swanlab", packages=("swanlab",)),
    _of("tracker", "report_to", "tensorbord", report_to="tensorbord"),
    _of("deepspeed", "deepspeed", deepspeed="$folder/zero2.json", packages=("deepspeed",)),
    _of("deepspeed file", "deepspeed", deepspeed="no/such/zero.json"),
    _of("quantization", "quantization_bit", quantization_bit=4, packages=("bitsandbytes",)),
    _of("quantization method", "quantization_method", "bnb", quantization_method="foo"),
    _of(
        "quantization by gptq",
        *("quantization_method=gptq", "bnb, hqq, eetq"),
        quantization_bit=4,
        quantization_method="gptq",
        methods=("tl_sft", "tl_ppo", "lora"),
    ),
    _of("quantization bits", "quantization_bit=5", "4 or 8", quantization_bit=5, methods=("tl_sft", "tl_ppo", "lora")),
    *(
        _of(f"model of {name}", "is quantized", package, model_name_or_path=f"$models/{name}", packages=(package,))
        for name, package in QUANTIZED.items()
    ),
    _of("model of no quantizer", "names no quant_method", model_name_or_path="$models/quantized"),
    _of("optimiser", "optim", optim="adamw_8bit", packages=("bitsandbytes",)),
    _of("optimiser unknown", "optim", optim="adamx"),
    _of("scheduler unknown", "lr_scheduler_type", lr_scheduler_type="cosinus"),
    _of("galore", "galore", use_galore=True, packages=("galore_torch",), methods=("tl_sft", "full")),
    _of("unsloth", "unsloth", use_unsloth=True, packages=("unsloth",)),
    _of("liger", "liger", enable_liger_kernel=True, packages=("liger_kernel",)),
    _of("vllm address", "tl_rollout_url", tl_rollout="vllm", methods=("tl_ppo",)),
    _of(
        "vllm server", "tl_rollout_url", tl_rollout="vllm", tl_rollout_url="http://127.0.0.1:9/v1", methods=("tl_ppo",)
    ),
    _of("reward function", "tl_reward_function", tl_reward_function="no_module:f", methods=("tl_ppo",)),
    _of("reward function's name", "tl_reward_function", tl_reward_function="ppo_rewards:nothing", methods=("tl_ppo",)),
    _of(
        "feedback function",
        "tl_feedback_function",
        tl_use_mae=True,
        tl_feedback_function="no_module:f",
        methods=("tl_sft",),
    ),
    # Values
    _of("learning rate", "learning_rate", "fast", learning_rate="fast"),
    _of("batch size", "per_device_train_batch_size", per_device_train_batch_size=0),
    _of("batch too large", "per_device_train_batch_size", per_device_train_batch_size=4000, methods=("tl_ppo",)),
    _of("stage", "stage", stage="tl_stf"),
    _of("stage unknown", "stage", stage="training"),
    _of("finetuning_type", "finetuning_type", finetuning_type="ctii"),
    _of("finetuning_type unknown", "finetuning_type", finetuning_type="everything"),
    _of("ratio", "citi_top_ratio", citi_top_ratio=5, methods=CITI),
    _of("importance file", "citi_importance_load", citi_importance_load="no.json", methods=CITI),
    _of("importance malformed", "importance", citi_importance_load="$folder/file", methods=CITI),
    _of("importance of another model", "importance", citi_importance_load="$folder/importance.json", methods=CITI),
    _of("importance folder", "citi_importance_save", citi_importance_save="$folder/file/x.json", methods=CITI),
    _of("lora target", "lora_target", "no_proj", lora_target="no_proj", methods=("tl_sft", "tl_ppo", "lora")),
    _of("additional target", "additional_target", additional_target="no_head", methods=("tl_sft", "tl_ppo", "lora")),
    _of("checkpoint", "resume_from_checkpoint", resume_from_checkpoint="no/checkpoint"),
    _of("nothing to do", "do_train", do_train=None),
    # Values that libraries look at late
    _of("compiler", "torch_compile_backend", torch_compile=True, torch_compile_backend="foo"),
    _of("compiler mode", "torch_compile_mode", torch_compile=True, torch_compile_mode="foo"),
    _of("ddp_backend", "ddp_backend", "gloo", ddp_backend="foo"),
    _of("ddp_backend alone", "ddp_backend=gloo", "FORCE_TORCHRUN", ddp_backend="gloo"),
    _of("accelerator_config", "accelerator_config", "foo", accelerator_config={"foo": 1}),
    _of("accelerator_config value", "split_batches", "true or false", accelerator_config={"split_batches": "maybe"}),
    _of("accelerator_config file", "accelerator_config", "no.json", accelerator_config="no.json"),
    _of("accelerator_config list", "accelerator_config", accelerator_config=[1]),
    _of("rope_scaling", "rope_scaling", "yarn", rope_scaling="foo"),
    _of("cache_dir", "cache_dir=/proc/nowhere", cache_dir="/proc/nowhere"),
    _of("cache_dir a file", "cache_dir", "is a file", cache_dir="$folder/file"),
    _of(
        "adapter in full tuning",
        *("adapter_name_or_path", "finetuning_type: full", "finetuning_type: lora"),
        adapter_name_or_path="$folder/adapter",
        finetuning_type="full",
        methods=("tl_sft", "tl_ppo", "full"),
    ),
    _of(
        "max_samples of one kind",
        *("max_samples: 4", "no general example"),
        dataset="tools_first",
        dataset_dir="$wrong_data",
        max_samples=4,
        methods=CITI,
    ),
    _data("data no_tools_json", "tool"),
    # Entries of dataset_info.json
    *(_of(f"entry {name}", name, dataset=name, dataset_dir="$infos/values") for name in ENTRIES),
    *(
        _of(f"unreachable {name}", address, dataset=name, dataset_dir="$infos/unreachable", methods=LOADERS)
        for name, address in UNREACHABLE.items()
    ),
    _of(
        "data on a hub",
        "names no local file",
        dataset="hf_hub_url",
        dataset_dir="$infos/unreachable",
        methods=("skintern",),
    ),
    # Words, keys and variables
    _of("word malformed", "seed=[1", words=("seed=[1",)),
    _of("word braces", "seed={a", words=("seed={a",)),
    _of("word without a name", "=3", "name=3", words=("=3",)),
    _of("word that drops too much", "~seed=3", "~name", words=("~seed=3",)),
    _of("word negative", "seed=-1", "4294967295", words=("seed=-1",)),
    _of("word empty", "seed", words=("seed=",)),
    _of("word of an alias", "seed=*a", words=("seed=*a",)),
    _of("word of a mapping", "seed", words=("seed={a: 1}",)),
    *(
        _of(f"key {name}", "is no name of an option", "line", yaml=lambda text, line=line: text + line)
        for name, line in KEYS.items()
    ),
    *(
        _of(f"variable {name}={value}", name, environment={"FORCE_TORCHRUN": "1", "NNODES": "2", name: value})
        for name, value in VARIABLES
    ),
    _of("variable RANK", "RANK=abc", environment={"RANK": "abc", "LOCAL_RANK": "0"}),
    _of("USE_V1", "USE_V1=1", "Unset USE_V1", environment={"USE_V1": "1"}),
    # Models whose files are there and cannot be loaded
    *(_model(f"model {name}", *says) for name, says in DAMAGED.items()),
)


def filled(value: Any, world: Mapping[str, str]) -> Any:
    """Return a value with the world's paths in the place of `$name`."""
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    name, slash, rest = value[1:].partition("/")
    return f"{world[name]}{slash}{rest}"
