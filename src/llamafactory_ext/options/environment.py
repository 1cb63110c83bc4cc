"""Variables of the environment that a launcher reads: values that it would stumble over, in words."""

from __future__ import annotations

from collections.abc import Mapping

# What torchrun takes for NPROC_PER_NODE beside a number.
_DEVICES = ("auto", "cpu", "gpu", "xpu")
# Variable to the lowest and the highest number that it takes.
_LAUNCHED: dict[str, tuple[int, int]] = {
    "NNODES": (1, 1 << 20),
    "NODE_RANK": (0, 1 << 20),
    "MASTER_PORT": (1, 65535),
    "MAX_RESTARTS": (0, 1 << 20),
    "MIN_NNODES": (1, 1 << 20),
    "MAX_NNODES": (1, 1 << 20),
}
_RUNNING: dict[str, tuple[int, int]] = {
    "RANK": (0, 1 << 20),
    "LOCAL_RANK": (-1, 1 << 20),
    "WORLD_SIZE": (1, 1 << 20),
    "LOCAL_WORLD_SIZE": (1, 1 << 20),
}


def environment_problems(environment: Mapping[str, str], *, launches: bool) -> list[str]:
    """Say which variables of the environment cannot be used, each with the next step.

    Args:
        environment: variables by name.
        launches: whether this process starts the others, by torchrun.
    """
    problems = [
        _range_fault(name, environment[name], *bounds)
        for name, bounds in (_LAUNCHED if launches else _RUNNING).items()
        if name in environment
    ]
    if not launches:
        return [problem for problem in problems if problem]
    processes = environment.get("NPROC_PER_NODE")
    if processes is not None and processes not in _DEVICES:
        fault = _range_fault("NPROC_PER_NODE", processes, 1, 1 << 20)
        problems.append(fault and f"{fault.partition(';')[0]}; set it to a number of processes, or unset it")
    problems = [problem for problem in problems if problem]
    if not problems:
        nodes, rank = int(environment.get("NNODES", "1")), int(environment.get("NODE_RANK", "0"))
        if rank >= nodes and "RDZV_ID" not in environment:
            problems.append(f"NODE_RANK={rank} with NNODES={nodes}; number the nodes from 0 to {nodes - 1}")
    return problems


def _range_fault(name: str, value: str, low: int, high: int) -> str:
    try:
        if low <= int(value) <= high and value.isascii():
            return ""
    except ValueError:
        pass
    upper = f" to {high}" if high < 1 << 20 else " up"
    return f"{name}={value} is no whole number from {low}{upper}; correct the variable, or unset it"
