"""What exported model types of all methods share, for transformers: one type per family, made from the table.

What it does: gives each row of `families.py` a configuration and a model of a method, named by the method's prefix,
and refuses directories of another format or with tensors missing. What it does not do: say what a method puts in; a
mixin of the method does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import transformers

from ..checkpoint.model_folder import CONFIG
from ..checkpoint.weight_files import weight_problems
from ..errors import CheckpointError
from ..families import FAMILIES, Family

FORMAT = 1
AGAIN = "the export is incomplete, write it again with `llamafactory-cli export`"
_ELSEWHERE = {"gguf_file", "state_dict", "subfolder", "variant"}  # by which the weights lie in other files


def export_problems(path: Any) -> list[str]:
    """Say which files of weights an exported model's folder lacks, or which are damaged; a name of a hub has none.

    Args:
        path: what was given as the model.
    """
    folder = Path(str(path)).expanduser()
    return weight_problems(folder, AGAIN) if path and (folder / CONFIG).is_file() else []


def settings_of(config: Any, block: str) -> dict[str, Any]:
    """Return the block of a method in an exported model's configuration.

    Args:
        config: transformers' configuration.
        block: the method's key in config.json.

    Raises:
        CheckpointError: it is none that this version reads.
    """
    found = getattr(config, block, None)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        told = found.get("format") if isinstance(found, dict) else f"no {block} block at all"
        raise CheckpointError(
            f"config.json of this {config.model_type} model says {told}; format {FORMAT} of the block `{block}` is "
            "needed: export the checkpoint again with this version of llamafactory_ext."
        )
    return found


class ExportedMixin:
    """Puts a method's modules into a new model; loading it without their tensors is an error.

    Attributes:
        block: the method's key in config.json.
        marks: parts of names by which the method's own tensors are known.
    """

    block: ClassVar[str]
    marks: ClassVar[tuple[str, ...]]

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]  # of the base model beside the mixin
        try:
            self.put(settings_of(config, self.block), config)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"config.json of this {config.model_type} model has a damaged block `{self.block}` ({error!r}); "
                "export the checkpoint again."
            ) from None

    def put(self, settings: dict[str, Any], config: Any) -> None:
        """Put the method's modules in.

        Args:
            settings: the method's block.
            config: transformers' configuration.
        """
        raise NotImplementedError

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        """Ask the base's class: transformers looks into the file of a class, and ours has none of its code.

        Without it an exported mixture of experts would run its experts one by one, slower and rounded otherwise.
        """
        bases = (kind for kind in cls.__mro__ if kind.__module__.startswith("transformers."))
        ask: Any = getattr(next(bases), "_can_set_experts_implementation", None)  # versions before 5 have none
        return ask is not None and bool(ask())

    @classmethod
    def from_pretrained(cls, path: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """Load as in transformers, but missing files and adapter tensors are named errors."""
        if not kwargs.keys() & _ELSEWHERE and (problems := export_problems(path)):
            raise CheckpointError(f"{problems[0]}.")
        try:
            model, info = super().from_pretrained(path, *args, output_loading_info=True, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            if "mismatch" not in str(error):
                raise
            raise CheckpointError(
                f"config.json and weights of {path} are of different exports, as shapes differ; export the checkpoint "
                "again."
            ) from None
        if missing := sorted(key for key in info["missing_keys"] if any(mark in key for mark in cls.marks)):
            raise CheckpointError(f"{path} lacks {len(missing)} adapter tensors, {missing[0]} for example; {AGAIN}.")
        return (model, info) if output_loading_info else model


def define(prefix: str, mixin: type[ExportedMixin], module: str, title: str) -> dict[str, tuple[Any, Any]]:
    """Return a method's exported types, {model type: (configuration, model)}, of all families that are installed.

    Args:
        prefix: of the classes' names.
        mixin: puts the method's modules in.
        module: the name of the module that will hold the classes.
        title: of the method, for docstrings.
    """
    found = {}
    for row in FAMILIES:
        if base := _installed(row):
            found[f"{prefix.lower()}_{row.model_type}"] = _types(prefix, mixin, module, title, *base)
    return found


def _installed(row: Family) -> tuple[Any, Any] | None:
    """Return Transformers' classes of a family; None where this version has none."""
    config, model = (getattr(transformers, name, None) for name in (row.config, row.model))
    return (config, model) if config is not None and model is not None else None


def _types(prefix: str, mixin: type, module: str, title: str, base_config: Any, base_model: Any) -> tuple[Any, Any]:
    kind = f"{prefix.lower()}_{base_config.model_type}"
    config: Any = type(f"{prefix}{base_config.__name__}", (base_config,), {"model_type": kind, "__module__": module})
    body = {"config_class": config, "__module__": module, "__doc__": f"{base_model.__name__} with {title}."}
    return config, type(f"{prefix}{base_model.__name__}", (mixin, base_model), body)
