"""`llamafactory-ext examples`: what a first training needs, where there is no clone of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpoint.atomic import write_bytes
from ..checkpoint.own import claim_plain
from ..errors import DataError, OptionError
from ..lab.methods import PACKAGE_ROOT, SHIPPED_MODEL

MODEL = "lab_model"
_IN_A_CLONE = b"src/llamafactory_ext/lab/model"
_PARTS = ("examples/**/*", "data/README.md", "data/dataset_info.json", "data/lab_*.json")
_SUFFIXES = (".yaml", ".json", ".sh", ".py", ".md", ".ipynb")


def examples(out: str) -> None:
    """Write the examples' YAML files and scripts, the lab's data and the embedded model into a folder.

    Files that are there with the same content stay, others are never overwritten.

    Args:
        out: the folder; it is made if it is missing.
    """
    folder = Path(str(out))
    claim_plain(folder)
    files = contents()
    if changed := [name for name, content in files.items() if _differs(folder / name, content)]:
        raise OptionError.listing(
            f"{folder}: these files are there and would be changed; move them away or choose another --out:", changed
        )
    for name, content in files.items():
        if not (folder / name).is_file():
            _write(folder / name, content)
    print(
        f"{len(files)} files in {folder}: examples/, data/ and {MODEL}/, the model of examples/yaml/*_tiny.yaml.\n"
        f"A first training, some minutes on a CPU:\n\n"
        f"  cd {folder}\n  llamafactory-cli train examples/yaml/citi_tiny.yaml"
    )


def contents() -> dict[str, bytes]:
    """Return what is written, by path within the folder; files name the model as it lies there."""
    paths = sorted({path for part in _PARTS for path in PACKAGE_ROOT.glob(part) if path.suffix in _SUFFIXES})
    if not paths:
        raise DataError(f"{PACKAGE_ROOT}: the examples are not there; install the package again.")
    files = {
        path.relative_to(PACKAGE_ROOT).as_posix(): path.read_bytes().replace(_IN_A_CLONE, MODEL.encode())
        for path in paths
    }
    return files | {
        f"{MODEL}/{path.name}": path.read_bytes() for path in sorted(SHIPPED_MODEL.iterdir()) if path.is_file()
    }


def _differs(path: Path, content: bytes) -> bool:
    try:
        if not os.path.lexists(path):
            return False
        # A folder, a link to nowhere, or a pipe, whose end never comes.
        return not path.is_file() or path.read_bytes() != content
    except NotADirectoryError:
        return False
    except OSError:  # a file that may not be read
        return True


def _write(path: Path, content: bytes) -> None:
    try:
        write_bytes(path, content)
        if path.suffix == ".sh":
            path.chmod(path.stat().st_mode | 0o111)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --out.") from error
