"""The pieces of LLaMA-Factory's training that our workflows stand on, under one roof."""

import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from datasets.exceptions import DatasetsError
from llamafactory.data import get_dataset
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask as SupervisedCollator
from llamafactory.extras.logging import get_logger
from llamafactory.extras.misc import calculate_tps
from llamafactory.extras.ploting import plot_loss as upstream_plot_loss
from llamafactory.model import load_model as upstream_load_model
from llamafactory.model import load_tokenizer as upstream_load_tokenizer
from llamafactory.train.sft.metric import ComputeAccuracy, eval_logit_processor
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer
from llamafactory.train.trainer_utils import create_modelcard_and_push

from ...errors import CheckpointError, DataError, ExtError

_UNLIKE = re.compile("mismatch|Missing key|Unexpected key", re.IGNORECASE)


@contextmanager
def loading_data(what: str = "The data") -> Iterator[None]:
    """Turn what upstream and `datasets` say within about data that they cannot load into one line.

    Args:
        what: is loaded.

    Raises:
        DataError: in the place of theirs.
    """
    try:
        yield
    except torch.distributed.DistError:  # of another process, which says itself what it met
        raise
    except (
        ValueError,
        OSError,
        ImportError,
        RuntimeError,
        TypeError,
        KeyError,
        AssertionError,
        DatasetsError,
    ) as error:
        said = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ is not None else error
        text = " ".join(str(said).split())[:300].rstrip(".") or type(error).__name__
        raise DataError(
            f"{what} cannot be loaded: {text}. Check dataset, eval_dataset, val_size, max_samples, the options of "
            "mixing, and the entries of dataset_info.json."
        ) from error


def wrap_get_dataset(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap upstream's loader of all data of a run for baselines that ask for our checks."""

    @wraps(original)
    def get_dataset(*args: Any, **kwargs: Any) -> Any:
        with loading_data():
            return original(*args, **kwargs)

    return get_dataset


@contextmanager
def loading_model(model_args: Any) -> Iterator[None]:
    """Turn what libraries say within about a model, tokenizer or adapter that they cannot load into one line.

    Raises:
        CheckpointError: in the place of theirs.
    """
    try:
        yield
    except ExtError:
        raise
    except RuntimeError as error:
        if not _UNLIKE.search(str(error)):
            raise
        raise _not_loaded(model_args, error) from error
    except Exception as error:  # odd values in its files meet code of many libraries, and of the model's own
        raise _not_loaded(model_args, error) from error


def _not_loaded(model_args: Any, error: Exception) -> CheckpointError:
    adapters = ",".join(model_args.adapter_name_or_path or [])
    named = f"model_name_or_path={model_args.model_name_or_path}"
    named += f" with adapter_name_or_path={adapters}" if adapters else ""
    text = " ".join(str(error).split())[:300]
    return CheckpointError(
        f"{named} cannot be loaded ({type(error).__name__}: {text}). Check its files, and the options about the model."
    )


def load_tokenizer(model_args: Any) -> dict[str, Any]:
    """Load tokenizer and processor as upstream does.

    Raises:
        CheckpointError: they cannot be loaded.
    """
    with loading_model(model_args):
        loaded: dict[str, Any] = upstream_load_tokenizer(model_args)
    return loaded


def load_model(tokenizer: Any, model_args: Any, finetuning_args: Any, is_trainable: bool = False) -> Any:
    """Load the model as upstream does.

    Raises:
        CheckpointError: it cannot be loaded, or holds what is no number.
    """
    with loading_model(model_args):
        model = upstream_load_model(tokenizer, model_args, finetuning_args, is_trainable)
    if (name := _without_number(model)) is not None:
        raise CheckpointError(
            f"model_name_or_path={model_args.model_name_or_path}: {name} holds NaN or infinity; get the model again, "
            "or name an earlier checkpoint."
        )
    return model


def _without_number(model: Any) -> str | None:
    """Return the first weight with a value that is no finite number; None without any.

    The first process alone looks: under FSDP the others have no weights yet. Packed bytes of a quantised weight may be
    stored as floats, and are no numbers then.
    """
    if os.environ.get("RANK", "0") != "0":
        return None
    for name, weight in model.named_parameters():
        if getattr(weight, "quant_state", None) is not None:
            continue
        if weight.is_floating_point() and weight.device.type != "meta" and not torch.isfinite(weight.detach()).all():
            return str(name)
    return None


def accuracy_of(finetuning_args: Any) -> dict[str, Any]:
    """Return what a trainer is given for `compute_accuracy`: upstream's measure, from the most likely tokens."""
    if not finetuning_args.compute_accuracy:
        return {}
    return {"compute_metrics": ComputeAccuracy(), "preprocess_logits_for_metrics": eval_logit_processor}


class _Titled(str):
    """A folder that upstream's title shows by another name: the one that it gets when it is whole."""

    shown = ""

    def __format__(self, _: str) -> str:
        return self.shown


def plot_loss(folder: str, keys: list[str], shown: str = "") -> None:
    """Draw the curves of a run's folder as upstream does; a run too short to log a value has none of it.

    Args:
        folder: of the run.
        keys: of its log.
        shown: the folder's name once it is in its place.
    """
    history = json.loads((Path(folder) / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    if logged := [key for key in keys if any(key in entry for entry in history)]:
        titled = _Titled(folder)
        titled.shown = shown or folder
        with contextlib.redirect_stdout(io.StringIO()) as said:
            upstream_plot_loss(titled, keys=logged)
        print(said.getvalue().replace(folder, titled.shown), end="")


def plot_evaluated(training_args: Any, finetuning_args: Any, datasets: Any) -> list[str]:
    """Return the names of the curves that evaluations give, for `plot_loss`."""
    if training_args.eval_strategy == "no":
        return []
    measures = ["loss", *(["accuracy"] if finetuning_args.compute_accuracy else [])]
    parts = [f"{name}_" for name in datasets] if isinstance(datasets, Mapping) else [""]
    return [f"eval_{part}{measure}" for part in parts for measure in measures]


__all__ = [
    "CustomSeq2SeqTrainer",
    "SupervisedCollator",
    "accuracy_of",
    "calculate_tps",
    "create_modelcard_and_push",
    "get_dataset",
    "get_logger",
    "load_model",
    "load_tokenizer",
    "loading_data",
    "loading_model",
    "plot_evaluated",
    "plot_loss",
]
