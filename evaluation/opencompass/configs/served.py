"""The model: an OpenAI-compatible server, told by environment variables so that nothing private is written down."""

from os import environ as _environ

from llamafactory_ext_opencompass.model import ServedModel

models = [
    {
        "type": ServedModel,
        "abbr": "served",
        "path": _environ["EVAL_MODEL"],
        "openai_api_base": _environ["EVAL_URL"],
        "key": "ENV",
        "temperature": 0,
        "query_per_second": 1000,
        "max_workers": int(_environ.get("EVAL_WORKERS", "16")),
        "max_seq_len": int(_environ.get("EVAL_MAX_SEQ_LEN", "8192")),
        "max_out_len": 1024,
        "batch_size": 1000,
        "retry": 4,
        "run_cfg": {"num_gpus": 0},
        "meta_template": {
            "round": [{"role": "HUMAN", "api_role": "HUMAN"}, {"role": "BOT", "api_role": "BOT", "generate": True}],
            "reserved_roles": [{"role": "SYSTEM", "api_role": "SYSTEM"}],
        },
    }
]

_first = int(_environ.get("EVAL_LIMIT", "0"))
limit = {"test_range": f"[:{_first}]"} if _first else {}
