"""What is refused before vLLM starts its workers, all problems at once, each with the next step."""

from __future__ import annotations

from typing import Any

from ...serving.vllm_plugin.checks import check_settings
from ..exported import BLOCK


def check(vllm_config: Any) -> None:
    """Make sure that vLLM would run a CITI model, and the same one.

    Args:
        vllm_config: vLLM's whole configuration.

    Raises:
        OptionError: it would not.
    """
    check_settings(vllm_config, BLOCK, "MOLoRA")
