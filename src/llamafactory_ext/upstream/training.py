"""The pieces of LLaMA-Factory's training loop that our workflows stand on, under one roof."""

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras.ploting import plot_loss
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer
from llamafactory.train.trainer_utils import create_modelcard_and_push

__all__ = [
    "CustomSeq2SeqTrainer",
    "create_modelcard_and_push",
    "get_dataset",
    "get_template_and_fix_tokenizer",
    "load_model",
    "load_tokenizer",
    "plot_loss",
]
