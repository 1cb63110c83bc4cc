"""API-Bank, RoTBench, BFCL, first calls of ToolAlpaca and ToolEyes: our scorers behind OpenCompass's inference."""

from os import environ as _environ

from llamafactory_ext_opencompass.benchmarks import ToolBenchmark, ToolEvaluator
from mmengine.config import read_base
from opencompass.openicl.icl_inferencer import GenInferencer
from opencompass.openicl.icl_prompt_template import PromptTemplate
from opencompass.openicl.icl_retriever import ZeroRetriever

with read_base():
    from .served import limit, models  # noqa: F401  # OpenCompass reads it out of the file

datasets = [
    {
        "abbr": _benchmark,
        "type": ToolBenchmark,
        "benchmark": _benchmark,
        "source": f"{_environ['EVAL_TOOL_DATA']}/{_folder}",
        "template": _environ.get("EVAL_TEMPLATE", "llama3_toolalpaca"),
        "reader_cfg": {"input_columns": ["prompt"], "output_column": "label"},
        "infer_cfg": {
            "prompt_template": {
                "type": PromptTemplate,
                "template": {"round": [{"role": "HUMAN", "prompt": "{prompt}"}]},
            },
            "retriever": {"type": ZeroRetriever},
            "inferencer": {"type": GenInferencer, "max_out_len": 1024},
        },
        "eval_cfg": {
            "evaluator": {
                "type": ToolEvaluator,
                "benchmark": _benchmark,
                "source": f"{_environ['EVAL_TOOL_DATA']}/{_folder}",
                "checkout": _environ.get("EVAL_CHECKOUT", ""),
                "embedder": _environ.get("EVAL_EMBEDDER", ""),
                "model": _environ["EVAL_MODEL"],
            }
        },
    }
    for _benchmark in _environ["EVAL_TOOL_BENCHMARKS"].split(",")
    for _folder in ("bfcl_v3" if _benchmark.startswith("bfcl") else _benchmark,)
]

for _dataset in datasets:
    _dataset["reader_cfg"] = {**_dataset["reader_cfg"], **limit}
