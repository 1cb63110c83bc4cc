"""The folder of a CITI run: the phases that it knows, and the files that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...checkpoint.atomic import read_json
from ...errors import CheckpointError
from ...training.phased import PhasedFolder
from ..card import SELECTION
from ..selection import Selection


@dataclass(frozen=True)
class RunFolder(PhasedFolder):
    """`output_dir` of a CITI run."""

    NAMES: ClassVar = ("rp", "mi", "uco")
    FILES: ClassVar = ("importance.json", SELECTION, "report.json")
    LATER: ClassVar = {
        "cutoff_action": "keep",
        "resize_vocab": False,
        "citi_importance_score": "auto",
        "citi_importance_stop": 0.0,
    }

    def check_selection(self, now: Selection) -> None:
        """Make sure that phases which have begun go on with the components that they began with.

        Args:
            now: what the importance file of today chooses.

        Raises:
            CheckpointError: it chooses others, or the file that says what was chosen is damaged.
        """
        path = self.path / SELECTION
        if not path.is_file() or not any(self.folder(phase).is_dir() for phase in self.phases):
            return
        try:
            then = Selection.from_dict(read_json(path, "selection"))
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(
                f"{path} is damaged. Restore it to go on, or set overwrite_output_dir: true to start anew."
            ) from None
        for what, old, new in (("adapts", then.adapted, now.adapted), ("tunes", then.tuned, now.tuned)):
            if odd := sorted({*old} ^ {*new}):
                raise CheckpointError(
                    f"{self.path} holds a run whose phases began with other components than the importance file "
                    f"chooses now: {odd[0]}, for example, which it {what} {'no more' if odd[0] in old else 'now'}. "
                    "Put the old importance file back to go on, or choose another output_dir, or set "
                    "overwrite_output_dir: true to start anew."
                )
