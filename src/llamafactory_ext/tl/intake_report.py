"""What a run says about its data before it trains, for every method: counts that add up, what is cut, what is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_object, write_json
from ..data.intake import DROP, ERROR, Intake
from ..errors import CheckpointError, DataError

REPORT = "data_report.json"
NAMES = {"train": "training data", "eval": "evaluation data"}


def check_intake(intakes: Mapping[str, Intake], cutoff_len: int, action: str, record_check: str) -> None:
    """Refuse data that the run's `cutoff_action` or `record_check` does not allow, or of which nothing is left.

    Raises:
        DataError: examples are cut and cutoff_action is error, are written otherwise than recorded and record_check is
            error, or cutoff_len leaves no trained token of the training data of one kind.
    """
    check_records(intakes, record_check)
    if action != ERROR:
        _check_left(intakes.get("train", Intake()), cutoff_len, action)
        return
    lines = [
        f"  - {name}: cutoff_len: {cutoff_len} cuts {found.cut_text()}"
        for name, found in intakes.items()
        if any(cut.cut for cut in found.cut.values())
    ]
    if lines:
        advice = (
            "Raise cutoff_len, or set cutoff_action: drop to train without them, or keep to train on what is left."
        )
        raise DataError("\n".join(["cutoff_len cuts examples (cutoff_action: error):", *lines, advice]))


def _check_left(train: Intake, cutoff_len: int, action: str) -> None:
    for kind, cut in train.cut.items():
        if cut.examples and cut.examples == (cut.cut if action == DROP else cut.untrained):
            which = "" if kind == "all" else f"{kind} "
            raise DataError(
                f"cutoff_len: {cutoff_len} (cutoff_action: {action}) leaves nothing to train of all {cut.examples:,} "
                f"{which}examples; raise cutoff_len."
            )


def check_records(intakes: Mapping[str, Intake], record_check: str) -> None:
    """Refuse data that the template writes otherwise than recorded, where the run asks for it.

    Raises:
        DataError: there is some and record_check is error.
    """
    lines = [f"  - {name}: {found.misread}" for name, found in intakes.items() if found.misread.counts]
    if lines and record_check == ERROR:
        advice = "Mend the records, use another template, or set record_check: warn to train on what is written."
        raise DataError("\n".join(["The text to train on is not what the records say:", *lines, advice]))


def intake_lines(intakes: Mapping[str, Intake], cutoff_len: int) -> list[str]:
    """Return one line for each thing to say, with the data set's name in front."""
    return [
        f"{NAMES[name].capitalize() if name in NAMES else f'Data {name}'}: {line}"
        for name, found in intakes.items()
        for line in found.lines(cutoff_len)
    ]


def check_some_left(name: str, intake: Intake, examples: int, cutoff_len: int) -> None:
    """Refuse a data set of which no example is left, and say what became of its records.

    Args:
        name: of the data set, as in `intake_lines`.
        intake: what was counted of it.
        examples: number of its examples that a run would read.
        cutoff_len: the run's limit of tokens.

    Raises:
        DataError: there is none.
    """
    if examples:
        return
    listed = [f"  - {line}" for line in intake_lines({name: intake}, cutoff_len)]
    said = f"No example of the {NAMES.get(name, name)} is left"
    raise DataError("\n".join([f"{said}:", *listed]) if listed else f"{said}; see the warnings above.")


def write_intake(intakes: Mapping[str, Intake], cutoff_len: int, action: str, folder: Path) -> None:
    """Keep the counts in data_report.json of the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"cutoff_len": cutoff_len, "cutoff_action": action}
    write_json(folder / REPORT, facts | {name: found.to_dict() for name, found in intakes.items()})


def check_resumed(folder: Path, action: str) -> None:
    """Make sure that a run goes on with the `cutoff_action` it began with.

    Raises:
        CheckpointError: it began with another one.
    """
    if not (folder / REPORT).is_file() or not any(folder.glob("checkpoint-*")):
        return
    began = read_object(folder / REPORT, "data report").get("cutoff_action", action)
    if began != action:
        raise CheckpointError(
            f"{folder} holds a run with cutoff_action: {began}, now it is {action}; repeat the command with the old "
            "value to go on, or choose another output_dir, or set overwrite_output_dir: true to start anew."
        )
