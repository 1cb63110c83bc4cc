"""The upstream objects that our rooms import, and what they need of them: checked when a run of ours starts."""

from __future__ import annotations

from .features import METHODS, TRAINING, Feature
from .patch import Use
from .relies import Fields, Has, Takes

DATA = "llamafactory.data"
MODEL = "llamafactory.model"
PARSED = ("tokenizer", "messages", "system", "tools")
_EXAMPLE = ("self", "prompt", "response", "system", "tools", "images", "videos", "audios")
_PAGE = (Feature.BOARD, Feature.DATA_TAB)
_PROCESSOR = (
    Fields(template=..., tokenizer=..., processor=..., data_args=...),
    Has("preprocess_dataset", Takes("self", "examples")),
    Has("_encode_data_example", Takes(*_EXAMPLE)),
)

USES: tuple[Use, ...] = (
    Use("llamafactory.extras.constants", "IGNORE_INDEX", TRAINING),
    Use("llamafactory.extras.constants", "TRAINING_STAGES", _PAGE),
    Use("llamafactory.extras.logging", "get_logger", TRAINING, (Takes("name"),)),
    Use("llamafactory.extras", "logging", TRAINING),
    Use("llamafactory.extras.misc", "get_device_count", (Feature.ERRORS,), (Takes(),)),
    Use("llamafactory.extras.misc", "calculate_tps", TRAINING, (Takes("dataset", "metrics", "stage"),)),
    Use("llamafactory.train.sft.metric", "ComputeAccuracy", TRAINING),
    Use("llamafactory.train.sft.metric", "eval_logit_processor", TRAINING, (Takes("logits", "labels"),)),
    Use(
        "llamafactory.train.trainer_utils",
        "create_modelcard_and_push",
        TRAINING,
        (Takes("trainer", "model_args", "data_args", "training_args", "finetuning_args"),),
    ),
    Use("llamafactory.extras.ploting", "plot_loss", TRAINING, (Takes("save_dictionary", "keys"),)),
    Use("llamafactory.hparams", "DataArguments", TRAINING, (Fields(template=..., cutoff_len=..., dataset_dir=...),)),
    Use("llamafactory.hparams", "get_infer_args", (Feature.EXPORT, Feature.CHAT_TEMPLATE)),
    Use("llamafactory.hparams", "get_train_args", TRAINING),
    Use("llamafactory.hparams", "read_args", METHODS),
    Use("llamafactory.hparams", "ModelArguments", METHODS),
    Use(DATA, "get_template_and_fix_tokenizer", METHODS, (Takes("tokenizer", "data_args"),)),
    Use(
        DATA,
        "get_dataset",
        TRAINING,
        (Takes("template", "model_args", "data_args", "training_args", "stage", "tokenizer", "processor"),),
    ),
    Use(
        f"{DATA}.loader",
        "_get_merged_dataset",
        TRAINING,
        (Takes("dataset_names", "model_args", "data_args", "training_args", "stage", "return_dict"),),
    ),
    Use(f"{DATA}.data_utils", "Role", TRAINING),
    Use(f"{DATA}.data_utils", "split_dataset", TRAINING, (Takes("dataset", "eval_dataset", "data_args", "seed"),)),
    Use(f"{DATA}.template", "TEMPLATES", METHODS),
    Use(f"{DATA}.tool_utils", "TOOLS", METHODS),
    Use(f"{DATA}.template", "Llama2Template", TRAINING),
    Use(f"{DATA}.template", "ReasoningTemplate", METHODS),
    Use(
        f"{DATA}.template",
        "register_template",
        (Feature.TEMPLATES,),
        (
            Takes(
                "name",
                "format_user",
                "format_assistant",
                "format_system",
                "format_tools",
                "format_prefix",
                "default_system",
                "stop_words",
                "efficient_eos",
                "replace_eos",
                "template_class",
            ),
        ),
    ),
    Use(f"{DATA}.tool_utils", "FunctionCall", METHODS, (Takes("name", "arguments"),)),
    Use(f"{DATA}.tool_utils", "datetime", TRAINING),
    Use(f"{DATA}", "tool_utils", TRAINING),
    *(Use(f"{DATA}.formatter", name, (Feature.TEMPLATES,)) for name in ("EmptyFormatter", "StringFormatter")),
    Use(f"{DATA}.formatter", "ToolFormatter", (Feature.TEMPLATES,)),
    Use(f"{DATA}.mm_plugin", "get_mm_plugin", TRAINING),
    Use(f"{DATA}.processor", "SupervisedDatasetProcessor", TRAINING, _PROCESSOR),
    Use(f"{DATA}.processor", "PackedSupervisedDatasetProcessor", TRAINING, _PROCESSOR),
    Use(
        f"{DATA}.collator",
        "SFTDataCollatorWith4DAttentionMask",
        TRAINING,
        (Has("__call__", Takes("self", "features")),),
    ),
    Use(MODEL, "load_config", METHODS, (Takes("model_args"),)),
    Use(f"{MODEL}.loader", "load_config", METHODS, (Takes("model_args"),)),
    Use(MODEL, "load_tokenizer", METHODS, (Takes("model_args"),)),
    Use(
        MODEL,
        "load_model",
        METHODS,
        (Takes("tokenizer", "model_args", "finetuning_args", "is_trainable", "add_valuehead"),),
    ),
    Use("llamafactory.train.sft.trainer", "CustomSeq2SeqTrainer", TRAINING),
    Use("llamafactory.train.tuner", "run_exp", TRAINING, (Takes("args", "callbacks"),)),
    Use("llamafactory.webui.common", "get_save_dir", (Feature.PROGRESS,)),
    Use("llamafactory.webui.common", "DEFAULT_DATA_DIR", (Feature.DATA_TAB,)),
    Use("llamafactory.webui.control", "list_datasets", (Feature.DATA_TAB,)),
)
