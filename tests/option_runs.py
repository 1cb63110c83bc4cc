"""A server of training runs: imports once, forks for every case, and says what each run did.

`python option_runs.py cases.json results.json` runs cases of two or three steps on a tiny model, a few at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

BASE: dict[str, Any] = {
    "do_train": True,
    "dataset": "tiny",
    "template": "llama3",
    "cutoff_len": 256,
    "per_device_train_batch_size": 2,
    "max_steps": 2,
    "logging_steps": 1,
    "report_to": "none",
    "use_cpu": True,
    "save_strategy": "no",
    "seed": 7,
    "learning_rate": 1e-3,
}
METHODS: dict[str, dict[str, Any]] = {
    "citi": {
        "stage": "sft",
        "finetuning_type": "citi",
        "citi_rank": 2,
        "citi_num_experts": 2,
        "citi_top_ratio": 0.3,
        "citi_bottom_ratio": 0.2,
        "citi_importance_samples": 2,
        "citi_report_samples": 0,
        "citi_rp_lr": 1e-2,
        "citi_mi_lr": 1e-2,
        "citi_uco_lr": 1e-3,
        "learning_rate": None,
    },
    "data": {
        "stage": "sft",
        "finetuning_type": "data",
        "data_task": "first",
        "data_low_rank": 2,
        "data_high_rank": 3,
        "data_components": 3,
        "data_layers_per_gate": 1,
        "learning_rate": 5e-3,
    },
    "tl_sft": {"stage": "tl_sft", "finetuning_type": "lora", "tl_use_mae": False},
    "tl_ppo": {
        "stage": "tl_ppo",
        "finetuning_type": "lora",
        "tl_max_new_tokens": 4,
        "tl_reward_function": "ppo_rewards:vowels",
        "tl_skip_bad": True,
        "cutoff_len": 1024,
    },
    "skintern": {"stage": "skintern", "finetuning_type": "lora", "skintern_steps": 2, "skintern_shots": 1},
}


def options_of(method: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run; None removes one."""
    options = BASE | METHODS[method] | changes
    return {name: value for name, value in options.items() if value is not None}


def make_world(folder: Path) -> dict[str, str]:
    """Write models, adapters and data sets for the trials; return the texts that stand for them as `$name`."""
    import tiny

    model = tiny.save_tiny_model(folder / "model")
    tiny.save_tiny_model(folder / "other_model", seed=1)
    _adapter(folder / "adapter")
    _adapter(folder / "nested")
    _adapter(folder / "nested" / "inner", seed=1)
    write_data(folder / "data")
    write_data(folder / "other_data", shift=100)
    (folder / "tokens.yaml").write_text('"<|brandnew|>": "a token that is new"\n')
    names = ("other_model", "adapter", "nested", "other_data")
    return {"model": str(model), "data": str(folder / "data"), "tokens": str(folder / "tokens.yaml")} | {
        name: str(folder / name) for name in names
    }


def _adapter(folder: Path, seed: int = 0) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    import tiny

    model = tiny.tiny_model()
    torch.manual_seed(seed)
    config = LoraConfig(r=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(folder)


def write_data(folder: Path, shift: int = 0) -> None:
    """Write the data sets tiny, more and dialogues, all marked; tool examples declare their tool."""
    import tiny

    folder.mkdir(parents=True, exist_ok=True)
    records = tiny.tiny_records(32 + shift)[shift:]
    texts = {name: {"type": "string", "description": "Text."} for name in ("content", "time")}
    parameters = {"type": "object", "properties": texts, "required": ["content"]}
    tool = {"name": "AddReminder", "description": "Remind.", "parameters": parameters}
    records = [record | {"tools": json.dumps([tool]) if record["mark"] == "tool" else ""} for record in records]
    dialogues = [
        record | {"history": [["Hello.", "<think>\nHm.\n</think>\n\nHello to you."]]} for record in records[:16]
    ]
    columns = {"prompt": "instruction", "query": "input", "response": "output", "mark": "mark", "task": "task"}
    columns["tools"] = "tools"
    info = {}
    for name, content, more in (
        ("tiny", records[:16], {}),
        ("more", records[16:32], {}),
        ("dialogues", dialogues, {"history": "history"}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        info[name] = {"file_name": f"{name}.json", "columns": columns | more}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


def weights_hash(folder: Path) -> str:
    """Return a hash of the names and bits of all tensors that a run left in its folder."""
    from safetensors import safe_open

    digest = hashlib.sha256()
    for path in sorted(folder.glob("*model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                digest.update(name.encode())
                digest.update(file.get_tensor(name).contiguous().view(-1).view(dtype=_bytes()).numpy().tobytes())
    return digest.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8


def logged(folder: Path) -> list[str]:
    """Return the names of all logged values."""
    names = set()
    for path in folder.rglob("trainer_state.json"):
        for entry in json.loads(path.read_text("utf-8"))["log_history"]:
            names |= entry.keys()
    return sorted(names)


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Train as a case says, in this process."""
    import transformers
    from llamafactory.train.tuner import run_exp

    import llamafactory_ext.citi.run.workflow as citi
    from llamafactory_ext.errors import ExtError

    folder = Path(case["options"]["output_dir"])
    os.environ.update(case.get("environment", {}))
    result: dict[str, Any] = {"id": case["id"], "loaded": False}
    load = transformers.AutoModelForCausalLM.from_pretrained.__func__

    def noticed(*args: Any, **kwargs: Any) -> Any:
        result["loaded"] = True
        return load(*args, **kwargs)

    transformers.AutoModelForCausalLM.from_pretrained = classmethod(noticed)
    citi.write_outputs = lambda *_: None  # pictures and a card take longer than the training
    began = time.process_time()
    try:
        run_exp(case["options"])
        result["end"] = "well"
    except ExtError as error:
        result |= {"end": "refused", "kind": type(error).__name__, "message": error.message}
    except SystemExit as error:
        result |= {"end": "exit", "message": str(error.code)}
    except BaseException:
        result |= {"end": "traceback", "message": traceback.format_exc()[-1500:]}
    result["seconds"] = time.process_time() - began
    result["exists"] = folder.exists()
    if result["end"] == "well":
        result |= {"weights": weights_hash(folder), "logged": logged(folder)}
        result["files"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return result


def _child(case: dict[str, Any], out: Path) -> None:
    printed = out.with_suffix(".txt")
    with printed.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        result = run_case(case)
        sys.stdout.flush()
        sys.stderr.flush()
    result["printed"] = printed.read_text("utf-8", errors="replace")
    out.write_text(json.dumps(result), encoding="utf-8")
    os._exit(0)


def serve(cases: list[dict[str, Any]], folder: Path, workers: int) -> list[dict[str, Any]]:
    """Run all cases, `workers` at once; a child that dies gives a result too."""
    import llamafactory.train.tuner  # noqa: F401

    import llamafactory_ext.citi.run.workflow
    import llamafactory_ext.tl.ppo.workflow
    import llamafactory_ext.tl.sft.workflow  # noqa: F401

    folder.mkdir(parents=True, exist_ok=True)
    _warm_up(cases, folder)
    waiting, running = list(enumerate(cases)), {}
    results: dict[int, dict[str, Any]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            number, case = waiting.pop(0)
            child = os.fork()
            if child == 0:
                _child(case, folder / f"{number}.json")
            running[child] = number
        child, status = os.wait()
        number = running.pop(child)
        out = folder / f"{number}.json"
        if out.is_file():
            results[number] = json.loads(out.read_text("utf-8"))
        else:
            printed = out.with_suffix(".txt").read_text("utf-8", errors="replace")[-1500:]
            results[number] = {"id": cases[number]["id"], "end": "died", "message": f"{status}: {printed}"}
    return [results[number] for number in range(len(cases))]


def _warm_up(cases: list[dict[str, Any]], folder: Path) -> None:
    """Run each method once, so that what it imports and caches need not be made again in every child."""
    import gc
    import io
    from contextlib import redirect_stderr, redirect_stdout

    import torch
    import transformers
    from llamafactory.train.tuner import run_exp

    torch.set_num_threads(1)
    names = ("model_name_or_path", "dataset_dir")
    for method in METHODS:
        changes = {name: cases[0]["options"][name] for name in names} | {"output_dir": str(folder / f"warm_{method}")}
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            run_exp(options_of(method, changes | {"max_steps": 1, "overwrite_output_dir": True}), [])
    transformers.set_seed(0)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    found = serve(json.loads(source.read_text("utf-8")), target.parent / "runs", int(sys.argv[3]))
    target.write_text(json.dumps(found), encoding="utf-8")
