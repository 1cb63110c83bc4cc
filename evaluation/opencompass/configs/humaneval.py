"""HumanEval with OpenCompass's prompts and our sandbox for the generated code."""

from llamafactory_ext_opencompass.sandboxed import SandboxedHumanEval
from mmengine.config import read_base

with read_base():
    from opencompass.configs.datasets.humaneval.humaneval_gen_8e312c import humaneval_datasets

    from .served import limit, models  # noqa: F401  # OpenCompass reads it out of the file

datasets = humaneval_datasets
datasets[0]["eval_cfg"]["evaluator"] = {"type": SandboxedHumanEval}

for _dataset in datasets:
    _dataset["reader_cfg"] = {**_dataset["reader_cfg"], **limit}
