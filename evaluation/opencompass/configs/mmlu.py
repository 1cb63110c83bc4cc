"""MMLU, five examples shown, by generated letters: a chat endpoint gives no likelihoods."""

from mmengine.config import read_base

with read_base():
    from opencompass.configs.datasets.mmlu.mmlu_gen_4d595a import mmlu_datasets

    from .served import limit, models  # noqa: F401  # OpenCompass reads it out of the file

datasets = mmlu_datasets

for _dataset in datasets:
    _dataset["reader_cfg"] = {**_dataset["reader_cfg"], **limit}
