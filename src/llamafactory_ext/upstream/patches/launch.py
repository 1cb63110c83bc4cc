"""What upstream's launcher does when a process of ours has failed."""

import functools
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

Function = Callable[..., Any]


def wrap_launch(original: Function) -> Function:
    """`launch`: an error of ours is its message and exit code 2, also when a child of torchrun has reported it."""

    @functools.wraps(original)
    def launch(*args: Any, **kwargs: Any) -> Any:
        ours = bool(methods_in(sys.argv[1:]))
        handing_on: AbstractContextManager[list[int]] = handing_signals_on() if ours else nullcontext([])
        with error_folder(), handing_on as signals:
            try:
                return original(*args, **kwargs)
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
