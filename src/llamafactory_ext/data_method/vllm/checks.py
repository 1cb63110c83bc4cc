"""What is refused before vLLM starts its workers, all problems at once, each with the next step."""

from __future__ import annotations

from typing import Any

from ...errors import OptionError
from ...serving.vllm_plugin.checks import require_version
from ..exported import adapter_settings


def check(vllm_config: Any) -> None:
    """Make sure that vLLM would run the same model.

    Args:
        vllm_config: vLLM's whole configuration.

    Raises:
        OptionError: it would not.
    """
    require_version()
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    config = model.hf_config
    adapter_settings(config)
    problems = []
    if model.quantization or getattr(config, "quantization_config", None):
        problems.append(
            f"quantization={model.quantization!r}: DATA was trained on the exported weights and runs on those only; "
            "leave --quantization out, and quantization_config out of config.json (--dtype bfloat16 halves float32)"
        )
    if parallel.pipeline_parallel_size > 1:
        problems.append(
            f"pipeline_parallel_size={parallel.pipeline_parallel_size}: gates reach over layers; set it to 1, and "
            "tensor_parallel_size in its place"
        )
    size, heads = parallel.tensor_parallel_size, config.num_key_value_heads
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
