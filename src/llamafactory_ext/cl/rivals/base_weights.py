"""Shapes of a model's linears, read from the headers of its files."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from ...errors import CheckpointError


def largest_rank(model: Path, kept: float) -> int:
    """Return the most singular directions that a linear of the decoder layers has beside those that are kept.

    Args:
        model: the model's folder.
        kept: share that is kept.

    Raises:
        CheckpointError: the folder has no weights that can be read.
    """
    most = 0
    for path in sorted(model.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                shapes = [file.get_slice(name).get_shape() for name in file.keys() if ".layers." in name]  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); get the model again.") from None
        for shape in shapes:
            if len(shape) == 2:
                most = max(most, min(shape) - int(kept * min(shape)))
    if not most:
        raise CheckpointError(f"{model} has no linears in *.safetensors; kind: osf needs a model in these files.")
    return most
