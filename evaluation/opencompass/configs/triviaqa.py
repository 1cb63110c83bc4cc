"""TriviaQA without examples, as OpenCompass's triviaqa_gen."""

from mmengine.config import read_base

with read_base():
    from opencompass.configs.datasets.triviaqa.triviaqa_gen import triviaqa_datasets

    from .served import limit, models  # noqa: F401  # OpenCompass reads it out of the file

datasets = triviaqa_datasets

for _dataset in datasets:
    _dataset["reader_cfg"] = {**_dataset["reader_cfg"], **limit}
