"""What files of weights and of JSON hold, seen without loading them; what is wrong with them, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..paths import is_file

_SAFE = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
WEIGHTS = (*_SAFE, *_PICKLED)
_LFS = b"version https://git-lfs"
_HEADER_MAX = 100_000_000
_SAMPLE = 16  # bytes kept of each tensor


class DamagedError(ValueError):
    """A file that is not what its name says; the text says why."""


def weight_problems(folder: Path, advice: str) -> list[str]:
    """Say which files of weights a local model lacks, or which are damaged.

    Args:
        folder: of the model.
        advice: the next step.
    """
    named = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if named is None:
        return [f"{folder} has no weights ({_SAFE[0]}); {advice}"]
    files = [folder / named]
    if named.endswith(".index.json"):
        try:
            files = [folder / name for name in _shards(folder / named)]
        except DamagedError as error:
            return [f"{folder / named} {error}; {advice}"]
    missing = [f"{file.name:.80}" for file in files if not is_file(file)]
    if missing:
        return [f"{folder} lacks {', '.join(missing[:3])} of its weights; {advice}"]
    return [f"{file} {fault}; {advice}" for file in files if (fault := weights_fault(file))]


def weights_fault(file: Path) -> str | None:
    """Say why a file of weights cannot be whole, by its header and size, or by its pickle; None if it can."""
    try:
        if file.suffix != ".safetensors":
            read_pickle(file)
            return None
        read_header(file)
        from safetensors import safe_open

        with safe_open(file, framework="numpy"):  # checks the header, reads no tensor
            return None
    except DamagedError as error:
        return str(error)
    except Exception as error:  # of the package's own kind
        return f"has a damaged header ({' '.join(str(error).split())[:100]})"


def stored_tensors(folder: Path) -> dict[str, Any]:
    """Return names and shapes of all tensors of a local model; of safetensors by the headers of its files.

    Raises:
        DamagedError: a file cannot be read.
    """
    for read, (whole, index) in ((read_header, _SAFE), (read_pickle, _PICKLED)):
        if (folder / whole).is_file():
            return read(folder / whole)
        if (folder / index).is_file():
            files = [folder / name for name in _shards(folder / index)]
            return {name: facts for file in files for name, facts in read(file).items()}
    return {}


def _shards(index: Path) -> list[str]:
    """Return the files that an index names, in its order.

    Raises:
        DamagedError: it names none.
    """
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise DamagedError("has no weight_map")
    if odd := [name for name in named.values() if not isinstance(name, str) or not name]:
        raise DamagedError(f"names {odd[0]!r:.60} as a file of weights")
    return list(dict.fromkeys(named.values()))


def read_pickle(file: Path) -> dict[str, Any]:
    """Return the names and shapes of the tensors of a file of torch's, whose values are not read.

    Raises:
        DamagedError: the file is damaged, or holds something else.
    """
    import torch

    try:
        with file.open("rb") as handle:
            begin = handle.read(len(_LFS))
        if begin == _LFS:
            raise DamagedError("is a link of git-lfs, not the weights (git lfs pull)")
        found = torch.load(file, map_location="meta", weights_only=True)
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except DamagedError:
        raise
    except Exception:  # of torch's and pickle's many kinds
        raise DamagedError("is no file of torch's weights, or is not whole") from None
    if not isinstance(found, dict):
        raise DamagedError("holds no tensors by name")
    return {str(name): {"shape": list(weight.shape)} for name, weight in found.items() if hasattr(weight, "shape")}


def read_header(file: Path) -> dict[str, Any]:
    """Return the names, types and shapes of the tensors of a file, by its header alone.

    Raises:
        DamagedError: the header is damaged, or the file is shorter or longer than it says.
    """
    try:
        with file.open("rb") as handle:
            begin = handle.read(len(_LFS))
            if begin == _LFS:
                raise DamagedError("is a link of git-lfs, not the weights (git lfs pull)")
            size = int.from_bytes(begin[:8], "little")
            if not 0 < size < _HEADER_MAX:
                raise DamagedError("is no file of safetensors")
            handle.seek(8)
            raw = handle.read(size)
        header = json.loads(raw)
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except DamagedError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise DamagedError("has a damaged header") from None
    expected, found = 8 + size + max(ends, default=0), file.stat().st_size
    if found != expected:
        raise DamagedError(f"has {found:,} bytes instead of {expected:,}, so it is not whole")
    header.pop("__metadata__", None)
    return dict(header)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        DamagedError: it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"is no JSON ({str(error)[:100]})") from None
    if not isinstance(value, dict):
        raise DamagedError("holds no JSON object")
    return value


def stored_weights(folders: Iterable[str | Path]) -> dict[str, str]:
    """Return shape and first bytes of every tensor in the safetensors files of some folders: file and name to both.

    What is no folder here, such as a name on a hub, is left out.
    """
    found = {}
    for number, folder in enumerate(folders):
        for path in sorted(Path(folder).glob("*.safetensors")):
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(size))
                for name in sorted(header.keys() - {"__metadata__"}):
                    begin, end = header[name]["data_offsets"]
                    file.seek(8 + size + begin)
                    sample = file.read(min(end - begin, _SAMPLE)).hex()
                    found[f"{number} {name}"] = f"{header[name]['dtype']} {header[name]['shape']} {sample}"
    return found
