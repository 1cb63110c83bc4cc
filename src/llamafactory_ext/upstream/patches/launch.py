"""What upstream's launcher does when a process of ours has failed."""

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from ..._report import error_folder, error_was_reported

Function = Callable[..., Any]


def wrap_launch(original: Function) -> Function:
    """`launch`: when a torchrun child has reported an error of ours, the parents end without a traceback."""

    @functools.wraps(original)
    def launch(*args: Any, **kwargs: Any) -> Any:
        with error_folder():
            try:
                return original(*args, **kwargs)
            except subprocess.CalledProcessError as error:
                if error_was_reported():
                    sys.exit(error.returncode)
                raise

    return launch
