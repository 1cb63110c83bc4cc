"""The pieces of LLaMA-Factory's training that our workflows stand on, under one roof."""

from llamafactory.data import get_dataset
from llamafactory.extras.logging import get_logger
from llamafactory.extras.misc import calculate_tps
from llamafactory.extras.ploting import plot_loss
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

__all__ = [
    "CustomSeq2SeqTrainer",
    "calculate_tps",
    "get_dataset",
    "get_logger",
    "load_model",
    "load_tokenizer",
    "plot_loss",
]
