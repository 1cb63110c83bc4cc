"""What `data --help` says of each verb, and refusing words and options that no verb knows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from llamafactory_ext.errors import OptionError

from ..data.public.convert import FAMILIES


@dataclass(frozen=True)
class Verb:
    """One verb's words for the terminal.

    Attributes:
        usage: what to type after `llamafactory-ext data`.
        about: what it does and writes.
        options: name -> meaning and default.
        lists: a heading and lines between the text and the options.
    """

    name: str
    usage: str
    about: str
    options: dict[str, str]
    lists: tuple[str, ...] = ()

    def help(self) -> str:
        """Return the whole help text."""
        options = [f"  --{option:<14}{text}" for option, text in self.options.items()]
        lists = [*self.lists, ""] if self.lists else []
        return "\n".join(
            [f"Usage: llamafactory-ext data {self.usage}", "", self.about, "", *lists, "Options:", *options]
        )

    def refuse(self, extra: tuple[object, ...], unknown: dict[str, object], texts: dict[str, object]) -> None:
        """Complain of left-over words before any work.

        Args:
            extra: words that no argument takes.
            unknown: options that there are none of.
            texts: options that take a text, by name; True for one without a value.

        Raises:
            OptionError: all of them at once.
        """
        problems = [f'"{word}" is one word too many' for word in extra]
        for option in unknown:
            close = difflib.get_close_matches(option, self.options, n=1)
            hint = f"did you mean --{close[0]}?" if close else f"the options are --{', --'.join(self.options)}"
            problems.append(f"--{option} is unknown; {hint}")
        problems += [
            f"--{option} needs a value after it" for option, value in texts.items() if isinstance(value, bool)
        ]
        if problems:
            raise OptionError.listing(f"data {self.name}:", problems)


CONVERT = Verb(
    "convert",
    "convert NAME --source FOLDER_OR_FILE [OPTIONS]",
    "Convert a public data set to LLaMA-Factory records, each with its mark (tool or general) and its task.\n"
    "Writes OUT/DATASET_NAME.json, OUT/DATASET_NAME.report.json (counts, reasons) and the entry in\n"
    "OUT/dataset_info.json.",
    {
        "source": "folder with the published files, or one of them",
        "out": "LLaMA-Factory's dataset_dir (data)",
        "dataset_name": "name of the entry and the file (NAME; NAME_test for a test split)",
        "split": "train or test (what the file's name says; train for a folder)",
        "limit": "draw this many records without replacement (0: take all)",
        "seed": "seed of the draw (42)",
        "task": "the ability these examples stand for: importance is computed per task (the data set's own)",
    },
    ("NAME is one of:", *(f"  {family.name:<14}{family.about}" for family in FAMILIES.values())),
)
MIX = Verb(
    "mix",
    "mix --tool NAMES --general NAMES --per_general N --dataset_name NAME [OPTIONS]",
    "Mix tool data (whole) with N examples of each general data set, as CITI trains on; commas separate NAMES.\n"
    "Writes DATASET_DIR/DATASET_NAME.json, its report with the hashes of all parts and of the result, and the entry.\n"
    "The same files, numbers and seed give the same hash.",
    {
        "tool": "data sets of dataset_info.json that are tool data",
        "general": "data sets of dataset_info.json that are general data",
        "per_general": "examples of each general data set (5000; the paper takes 3000 with ToolAlpaca)",
        "dataset_name": "name of the mixture",
        "dataset_dir": "folder of dataset_info.json (data)",
        "seed": "seed of the draws (42)",
        "expect": "the SHA-256 that the result must have; otherwise nothing is written (any)",
    },
)
CHECK = Verb(
    "check",
    "check FILE_OR_NAME [OPTIONS]",
    "Tell everything that is wrong with a data file, or with the file of an entry (alpaca, sharegpt or OpenAI's\n"
    "messages): malformed records, marks, role order, calls that do not parse, tools that are not declared. With\n"
    "--template and --model also what the template cannot render, what cutoff_len cuts, and how many tokens are\n"
    "trained (this needs LLaMA-Factory).\n"
    "Ends with exit code 2 if there are errors.",
    {
        "dataset_dir": "folder of dataset_info.json, for a NAME (data)",
        "template": "template of the run",
        "model": "folder with the tokenizer",
        "cutoff_len": "as in the YAML (2048)",
    },
)
PREVIEW = Verb(
    "preview",
    "preview FILE_OR_NAME --model FOLDER --template NAME [OPTIONS]",
    "Show what the model really sees of examples: every token of the rendered text, and whether it is masked,\n"
    "learned or a key token, with its weight. Examples carry their mark (tool or general). Needs LLaMA-Factory.",
    {
        "yaml": "a training YAML; its data sets, model, template and data options hold where none are given here",
        "dataset_dir": "folder of dataset_info.json, for a NAME (data)",
        "template": "template of the run",
        "model": "folder with the tokenizer",
        "cutoff_len": "as in the YAML (2048)",
        "stage": "sft, or tl_sft: calls in error dropped, key tokens weighed (sft)",
        "index": "number of the first record, from 0 (0)",
        "count": "how many records of each data set (3)",
        "html": "write a web page to this file, instead of to the terminal",
    },
)
STATS = Verb(
    "stats",
    "stats FILE_OR_NAMES [OPTIONS]",
    "Count the calls of trajectories by the error that the tools' feedback reports (TL-Training, Figure 1); commas\n"
    "separate several. Reads converted data sets and TL-Training's raw_data.json as published.",
    {
        "dataset_dir": "folder of dataset_info.json, for NAMES (data)",
        "rules": "structured: by category; reference: the marks of TL-Training's released code (structured)",
        "function": "your own judge of feedback as module:function, in place of the rules, as tl_feedback_function",
        "out": "folder for error_statistics.json and error_statistics.png (nothing is written)",
    },
)
