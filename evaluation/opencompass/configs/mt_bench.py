"""MT-Bench: two turns by the served model, each rated by a judge."""

from os import environ as _environ

from llamafactory_ext_opencompass.mt_bench import MtBench, MtBenchEvaluator
from mmengine.config import read_base
from opencompass.openicl.icl_inferencer import ChatInferencer
from opencompass.openicl.icl_prompt_template import PromptTemplate
from opencompass.openicl.icl_retriever import ZeroRetriever

with read_base():
    from .served import limit, models  # noqa: F401  # OpenCompass reads it out of the file

_source = f"{_environ['COMPASS_DATA_CACHE']}/data/mt_bench"

datasets = [
    {
        "abbr": "mt_bench",
        "type": MtBench,
        "source": _source,
        "reader_cfg": {"input_columns": ["dialogue"], "output_column": "label", **limit},
        "infer_cfg": {
            "prompt_template": {"type": PromptTemplate, "template": "{dialogue}"},
            "retriever": {"type": ZeroRetriever},
            "inferencer": {"type": ChatInferencer, "max_out_len": 1024, "infer_mode": "every"},
        },
        "eval_cfg": {"evaluator": {"type": MtBenchEvaluator, "source": _source}},
    }
]
