"""Whether this machine can run the sandbox; tests that need it skip with the reason."""

from llamafactory_ext.errors import OptionError
from llamafactory_ext.metrics.sandbox import Limits, run_program


def isolation_problem() -> str | None:
    """Why nothing can be isolated on this machine; None if it can."""
    try:
        outcome = run_program("print('ready')", limits=Limits(seconds=120))
    except OptionError as error:
        return error.message
    assert outcome.output == "ready\n", outcome
    return None
