"""GSM8K, four examples shown, as OpenCompass's gsm8k_gen."""

from mmengine.config import read_base

with read_base():
    from opencompass.configs.datasets.gsm8k.gsm8k_gen_1d7fe4 import gsm8k_datasets

    from .served import limit, models  # noqa: F401  # OpenCompass reads it out of the file

datasets = gsm8k_datasets

for _dataset in datasets:
    _dataset["reader_cfg"] = {**_dataset["reader_cfg"], **limit}
