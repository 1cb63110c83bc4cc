"""The process that runs the program: as a whole, as a server of its functions, or as the tests that call them.

Tests and the program that is tested live in two worlds (two namespaces, two processes), joined by two pipes through
which plain values pass. So nothing that the program does to its own interpreter touches the tests or their verdict.
"""

import builtins
import io
import os
import runpy
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ProgramEndedError(Exception):
    """The tested program ended before its tests did."""


def run(job: dict[str, Any]) -> tuple[int, str]:
    """Run the job; return the record's kind and the error's text."""
    import records  # type: ignore[import-not-found]

    kind, error = records.FINISHED, ""
    sys.stdin = io.StringIO(job["stdin"])
    sys.argv = ["program.py"]
    os.environ.clear()
    role: Callable[[dict[str, Any]], None] = {"program": _whole, "serve": _serve, "test": _test}[job["role"]]
    import values  # type: ignore[import-not-found]  # noqa: F401  # before its folder leaves the path

    del sys.path[0]
    try:
        role(job)
    except BaseException as caught:
        kind, error = records.FAILED, _shown(caught)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as caught:
        kind, error = records.FAILED, _shown(caught)
    return kind, error


def _whole(job: dict[str, Any]) -> None:
    Path("program.py").write_text(job["source"], encoding="utf-8", errors="surrogatepass")
    runpy.run_path("program.py", run_name="__main__")


def _serve(job: dict[str, Any]) -> None:
    """Run the program, then answer calls of its function until the tests hang up."""
    import values  # type: ignore[import-not-found]

    asked, answered = job["channel"]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module  # as dataclasses and pickles ask for it
    exec(compile(job["source"], "program.py", "exec"), module.__dict__)  # noqa: S102  # this is its purpose
    called = module.__dict__[job["entry"]]
    while (request := values.receive(asked)) is not None:
        try:
            arguments, named = values.decode(request)
            answer = ["returned", values.encode(called(*arguments, **named))]
        except BaseException as caught:
            answer = ["raised", type(caught).__name__, _shown(caught)]
        values.send(answered, answer)


def _test(job: dict[str, Any]) -> None:
    """Run the tests, in which the tested function is a stand-in that asks the program's process."""
    import values  # type: ignore[import-not-found]

    asking, hearing = job["channel"]

    def tested(*arguments: Any, **named: Any) -> Any:
        try:
            values.send(asking, values.encode([arguments, named]))
            answer = values.receive(hearing)
        except OSError:
            answer = None
        if answer is None:
            raise ProgramEndedError("the program ended before its tests did")
        if not isinstance(answer, list) or len(answer) < 2:
            raise values.MalformedError("the program's answer cannot be read")
        if answer[0] != "returned":
            raise _error(answer)
        return values.decode(answer[1])

    names: dict[str, Any] = {"__name__": "__main__"}
    _define(job["context"], names)
    names[job["entry"]] = tested
    exec(compile(job["source"], "tests.py", "exec"), names)  # noqa: S102


def _define(context: str, names: dict[str, Any]) -> None:
    """Run what stands before the tested function: imports and helpers, which tests may use."""
    for text in (context, f"{context}\n    pass\n"):
        try:
            code = compile(text, "context.py", "exec")
        except (SyntaxError, ValueError):
            continue
        exec(code, names)  # noqa: S102
        return


def _error(answer: list[Any]) -> BaseException:
    """Return the exception that the tested function raised, where it is one of Python's own."""
    kind = getattr(builtins, str(answer[1]), None)
    text = str(answer[2])[:1000] if len(answer) > 2 else ""
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text.partition(": ")[2].strip())
        except TypeError:
            pass
    return RuntimeError(f"the tested function raised {text.strip()}")


def _shown(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error))[:2000]
    except BaseException:
        return type(error).__name__
