"""Print the address of the head of the running Ray cluster, if LLaMA-Factory can train with so many workers on it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

DEVICES = ("GPU", "NPU")
CPUS = 10  # that LLaMA-Factory reserves beside each device of the cluster


def lacking(machines: Sequence[Mapping[str, float]], workers: int) -> str | None:
    """Return what these machines' resources lack, with the next step; None if nothing."""
    kind = next((kind for kind in DEVICES if any(machine.get(kind) for machine in machines)), None)
    if kind is None:
        return "The Ray cluster has no GPU and no NPU; start its machines with ray start --num-gpus N."
    devices = sum(int(machine.get(kind, 0)) for machine in machines)
    if workers > devices:
        return f"The Ray cluster has {devices} {kind}s; lower --workers to that, or start more machines."
    for machine in machines:
        own, cpus = int(machine.get(kind, 0)), int(machine.get("CPU", 0))
        if cpus < CPUS * own:
            return (
                f"A machine of the Ray cluster has {own} {kind}s and {cpus} CPUs; LLaMA-Factory reserves {CPUS} CPUs "
                f"for each {kind} and would wait for ever. Start that machine with ray start --num-cpus {CPUS * own}."
            )
    return None


def main() -> None:
    """Look at the cluster that runs here; the number of workers is the only word."""
    try:
        import ray
    except ImportError:
        sys.exit("ray is not installed: pip install ray")
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        sys.exit("No Ray cluster runs here; start it with ray start --head, and the other machines with ray start.")
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if problem := lacking(machines, int(sys.argv[1])):
        sys.exit(problem)
    print(ray.util.get_node_ip_address())


if __name__ == "__main__":
    main()
