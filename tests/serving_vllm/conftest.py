"""Tests of the vLLM plugin, for the environment that `make vllm-env` makes; `make vllm-test` runs them there.

One process for all engines: vLLM's own processes cost 20 seconds each.
"""

import os
from importlib.util import find_spec

# LLaMA-Factory's environment has no vLLM: nothing to collect there.
collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_LOGGING_LEVEL="WARNING",
    VLLM_NO_USAGE_STATS="1",
)
