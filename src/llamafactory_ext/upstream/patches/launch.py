"""What upstream's launcher does when a process of ours has failed."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..._report import (
    error_folder,
    error_was_reported,
    explain,
    explain_interrupt,
    handing_signals_on,
    methods_in,
)
from ...errors import OptionError
from ...options.command_file import checks_asked
from ...options.environment import environment_problems
from ...options.fates.conditions import is_set

Function = Callable[..., Any]


def wrap_launch(original: Function) -> Function:
    """Wrap `launch`: an error of ours is its message and exit code 2, also where a child of torchrun reported it."""

    @functools.wraps(original)
    def launch(*args: Any, **kwargs: Any) -> Any:
        ours = bool(methods_in(sys.argv[1:]))
        handing_on: AbstractContextManager[list[int]] = handing_signals_on() if ours else nullcontext([])
        with error_folder(), handing_on as signals:
            try:
                if ours or checks_asked():
                    _check_environment()
                return original(*args, **kwargs)
            except FileNotFoundError as error:
                if error.filename != "torchrun":
                    raise
                print("torchrun is not on PATH; activate the environment that LLaMA-Factory is in.", file=sys.stderr)
                sys.exit(2)
            except subprocess.CalledProcessError:
                if signals:
                    sys.exit(128 + signals[0])
                if error_was_reported():
                    sys.exit(2)
                raise
            except KeyboardInterrupt as error:
                if (code := explain_interrupt(error)) is None:
                    raise
                sys.exit(code)
            except Exception as error:
                if explain(error):
                    sys.exit(2)
                raise

    return launch


def _check_environment() -> None:
    """Refuse values of the launcher's variables that end it in a traceback.

    Raises:
        OptionError: with a line for each.
    """
    from llamafactory.extras.misc import get_device_count

    if sys.argv[1:2] != ["train"]:
        return
    several = get_device_count() > 1 and not is_set("USE_RAY") and not is_set("USE_KT")
    launches = several or is_set("FORCE_TORCHRUN") or is_set("USE_MCA")
    if problems := environment_problems(os.environ, launches=launches):
        raise OptionError.listing("The environment does not work:", problems)
