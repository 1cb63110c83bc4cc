"""A Ray training on a machine without GPUs: upstream plans one GPU per worker, so Ray is told of one.

Without this upstream asks for ten CPUs per CPU and waits for ever. The worker itself is untouched.
"""

import ray
from llamafactory.train import trainer_utils, tuner

tuner.get_device_name = trainer_utils.get_device_name = lambda: "gpu"
ray.init(num_cpus=10, num_gpus=1, include_dashboard=False)
tuner.run_exp(tuner.read_args() | {"master_addr": ray.util.get_node_ip_address()})
