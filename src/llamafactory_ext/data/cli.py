"""`llamafactory-ext data ...`: the verbs of this room for the terminal."""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from llamafactory_ext.errors import OptionError

from .convert import FAMILIES, Conversion, Request, convert

_SHOWN_NOTES = 5
_OPTIONS = {
    "source": "folder with the published files, or one of them",
    "out": "LLaMA-Factory's dataset_dir (data)",
    "dataset_name": "name of the entry and the file (NAME; NAME_test for a test split)",
    "split": "train or test (what the file's name says; train for a folder)",
    "limit": "draw this many records without replacement (0: take all)",
    "seed": "seed of the draw (42)",
    "task": "the ability these examples stand for: importance is computed per task (the data set's own)",
}


class Data:
    """Convert the public data sets to LLaMA-Factory records with a tool/general mark."""

    def convert(
        self,
        name: str = "",
        *extra: object,
        source: str = "",
        out: str = "data",
        dataset_name: str = "",
        split: str = "",
        limit: int = 0,
        seed: int = 42,
        task: str = "",
        **unknown: object,
    ) -> None:
        """Convert a public data set and enter it in dataset_info.json; `--help` lists them.

        Args:
            name: which converter.
            extra: nothing; more words are an error.
            source: folder with the published files, or one of them.
            out: LLaMA-Factory's dataset_dir.
            dataset_name: name of the entry and the file.
            split: train or test.
            limit: draw this many records without replacement; 0 takes all.
            seed: seed of the draw.
            task: the ability these examples stand for.
            unknown: nothing; other options are an error.
        """
        if {"help", "h"} & unknown.keys():  # python-fire hands the flag over to functions that take any option
            print(_help())
            return
        _refuse_unknown(extra, unknown)
        if not name or not source:
            raise OptionError(
                f"data convert needs a name ({', '.join(FAMILIES)}) and --source FOLDER_OR_FILE: "
                "llamafactory-ext data convert api_bank --source DIR --out data"
            )
        request = Request(
            family=str(name),
            source=Path(str(source)),
            out=Path(str(out)),
            dataset_name=str(dataset_name),
            split=str(split),
            limit=limit,
            seed=seed,
            task=str(task),
        )
        _show(convert(request))


def _help() -> str:
    names = "\n".join(f"  {family.name:<14}{family.about}" for family in FAMILIES.values())
    options = "\n".join(f"  --{option:<14}{text}" for option, text in _OPTIONS.items())
    return (
        "Usage: llamafactory-ext data convert NAME --source FOLDER_OR_FILE [OPTIONS]\n\n"
        "Convert a public data set to LLaMA-Factory records, each with its mark (tool or general) and its task.\n"
        "Writes OUT/DATASET_NAME.json, OUT/DATASET_NAME.report.json (counts, reasons) and the entry in\n"
        f"OUT/dataset_info.json.\n\nNAME is one of:\n{names}\n\nOptions:\n{options}"
    )


def _refuse_unknown(extra: tuple[object, ...], unknown: dict[str, object]) -> None:
    """python-fire would run first and complain about left-over words afterwards."""
    problems = [f'"{word}" is one word too many' for word in extra]
    for option in unknown:
        close = difflib.get_close_matches(option, _OPTIONS, n=1)
        hint = f"did you mean --{close[0]}?" if close else f"the options are --{', --'.join(_OPTIONS)}"
        problems.append(f"--{option} is unknown; {hint}")
    if problems:
        raise OptionError.listing("data convert:", problems)


def _show(result: Conversion) -> None:
    console = Console()
    table = Table(title=f"{result.family} ({result.split}) -> {result.output}")
    table.add_column("what")
    table.add_column("records", justify="right")
    for file, count in result.read.items():
        table.add_row(f"read from {file}", f"{count:,}")
    for reason, count in sorted(result.dropped.counts.items()):
        table.add_row(f"dropped: {reason}", f"{count:,}")
    if result.limit:
        table.add_row(f"not drawn (--limit {result.limit}, --seed {result.seed})", f"{result.not_drawn:,}")
    table.add_row(f'written, marked "{result.mark}", task "{result.task}"', f"{result.written:,}", style="bold")
    for reason, count in sorted(result.findings.counts.items()):
        table.add_row(f"of these, {reason}", f"{count:,}")
    if result.duplicates_kept:
        table.add_row("of these, repeats of an earlier record (kept)", f"{result.duplicates_kept:,}")
    console.print(table)
    for file, reason in result.left_out.items():
        console.print(f"Not read: {file} ({reason}).", markup=False, soft_wrap=True)
    for word, notes in (("Dropped", result.dropped), ("Published so", result.findings)):
        for note in islice(notes, _SHOWN_NOTES):
            console.print(f"{word}: {note.file}, {note.place}: {note.reason}", markup=False, soft_wrap=True)
    report = result.output.with_name(f"{result.dataset_name}.report.json")
    if len(result.dropped) > _SHOWN_NOTES or len(result.findings) > _SHOWN_NOTES:
        console.print(
            f"All {len(result.dropped):,} dropped records and all {len(result.findings):,} findings: {report}",
            markup=False,
            soft_wrap=True,
        )
    if result.written < result.limit:
        console.print(f"Fewer than --limit {result.limit} are usable: all were taken.", markup=False, soft_wrap=True)
    console.print(
        f'Next: name "{result.dataset_name}" under "dataset:" of a YAML with "dataset_dir: {result.output.parent}".',
        markup=False,
        soft_wrap=True,
    )
