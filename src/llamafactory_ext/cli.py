"""The command `llamafactory-ext`: one verb per room, each imported only when it is called."""

import difflib
import errno
import os
import signal
import sys
from importlib import import_module
from typing import Any, Final

from .commands.usage import Command, asks_for_help, commands
from .errors import ExtError, InterruptedRun, OptionError, brief

VERBS: Final = {
    "doctor": ("llamafactory_ext.upstream.doctor", "doctor", "what is installed, what is active, what to do next"),
    "examples": (
        "llamafactory_ext.commands.examples",
        "examples",
        "write the examples, for a run without a clone",
    ),
    "data": ("llamafactory_ext.commands.data", "Data", "convert, mix, check, preview and count data sets"),
    "importance": ("llamafactory_ext.commands.importance", "Importance", "show and draw component importance"),
    "analyse": ("llamafactory_ext.commands.analyse", "Analyse", "the analyses of CITI's paper on a model of yours"),
    "infer": ("llamafactory_ext.commands.infer", "infer", "ask a model all questions of a benchmark, resumable"),
    "score": ("llamafactory_ext.commands.score", "score", "score saved predictions of the papers' benchmarks"),
    "report": ("llamafactory_ext.report.report", "report", "scores beside the papers' tables, with pictures"),
    "etapp": ("llamafactory_ext.commands.etapp", "Etapp", "personalised tool use: run, check and judge agents"),
    "tl": ("llamafactory_ext.commands.tl", "Tl", "TL-Training: export data and reward for verl"),
    "cl": ("llamafactory_ext.commands.cl", "Cl", "continual learning: methods side by side on a sequence of tasks"),
    "skintern": (
        "llamafactory_ext.commands.skintern",
        "Skintern",
        "SKIntern: knowledge from a teacher, data of the steps, scores",
    ),
    "lab": ("llamafactory_ext.commands.lab", "Lab", "the embedded tiny model and its world: demo, data, training"),
}
USAGE: Final = "\n".join(
    [
        "Usage: llamafactory-ext VERB [ARGUMENTS]",
        "",
        *(f"  {verb:<12}{text}" for verb, (_, _, text) in VERBS.items()),
        "",
        "`llamafactory-ext VERB --help` says more. Training, chat and export: `llamafactory-cli`.",
    ]
)


def load_verb(verb: str) -> Any:
    """Import what a verb runs; a missing third-party package becomes an OptionError with the next step."""
    module, name, _ = VERBS[verb]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "llamafactory_ext"):
            raise
        raise OptionError(
            f"`llamafactory-ext {verb}` needs the package {missing}, which is not installed; run "
            f"`pip install {missing}`, or, in your clone of llamafactory_ext, `pip install -e '.[train]'` for "
            "everything training needs."
        ) from error


def _run(verb: str, arguments: list[str]) -> None:
    """Run the command that the words name, or print its help or the list of a verb's commands.

    Raises:
        OptionError: there is no such command, or it does not know one of the words.
    """
    module, name, _ = VERBS[verb]
    known = commands(module, name, f"llamafactory-ext {verb}")
    if "" in known:
        command, given = known[""], arguments
    else:
        word = arguments[0] if arguments else "--help"
        listing = _listing(verb, known)
        if word in ("--help", "-h", "help"):
            print(listing)
            return
        if word.replace("-", "_") not in known:
            close = difflib.get_close_matches(word, known, n=1)
            hint = f" Did you mean {close[0].replace('_', '-')}?" if close else ""
            raise OptionError(f"`llamafactory-ext {verb}` has no command {word!r}.{hint}\n{listing}")
        command, given = known[word.replace("-", "_")], arguments[1:]
    if asks_for_help(given):
        if not command.is_open:
            print(command.help())
            return
        given = ["--help"]
    loose, named = command.read(given)
    component = load_verb(verb)
    said = (getattr(component(), command.method) if command.method else component)(*loose, **named)
    if said is not None:
        print(said)


def _listing(verb: str, known: dict[str, Command]) -> str:
    return "\n".join(
        [
            f"Usage: llamafactory-ext {verb} COMMAND [ARGUMENTS]",
            "",
            *(
                f"  {name.replace('_', '-'):<12}{command.about.partition(chr(10))[0]}"
                for name, command in known.items()
            ),
            "",
            f"`llamafactory-ext {verb} COMMAND --help` says more.",
        ]
    )


def main() -> None:
    """Run a verb; an error of ours is one message and exit code 2."""
    verb, arguments = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if verb in ("--help", "-h", "help"):
        print(USAGE)
        return
    before = _take_sigterm()
    try:
        if verb not in VERBS:
            raise OptionError(f"There is no verb {verb!r}.\n{USAGE}")
        _run(verb, arguments)
        sys.stdout.flush()
    except ExtError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever reads our output has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)
    except OSError as error:
        named = error.filename or _lost_output(error)
        place = f"{named}: " if named else ""
        said = brief(f"OSError: {place}{error.strerror or error}; check the path, permissions and room.")
        print(said, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        number = int(getattr(error, "number", signal.SIGINT))
        kept = getattr(error, "message", "") or "Repeat the command; what it keeps as it goes is kept."
        name = "SIGTERM" if number == signal.SIGTERM else "Ctrl-C"
        print(kept if kept.startswith("Interrupted") else f"Interrupted by {name}. {kept}", file=sys.stderr)
        sys.exit(128 + number)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _lost_output(error: OSError) -> str:
    """Say that it is standard output that cannot be written, if it is; what it still holds is then given up."""
    try:
        sys.stdout.flush()
        if error.errno == errno.ENOSPC:  # an unbuffered one holds nothing, and shows it at the next byte alone
            os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "standard output"
    return ""


def _take_sigterm() -> Any:
    """Let SIGTERM end a verb as Ctrl-C does; return what it did before, None where signals are not ours."""

    def take(number: int, _: object) -> None:
        raise InterruptedRun(number)

    try:
        return signal.signal(signal.SIGTERM, take)
    except ValueError:  # not the main thread
        return None


if __name__ == "__main__":
    main()
