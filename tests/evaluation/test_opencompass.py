"""OpenCompass from end to end: gold answers score 100, a tiny model scores something, failures are failures.

Runs where `make eval-env` has made .venv-eval (or EVAL_PYTHON names the Python of such an environment).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamafactory_ext.metrics.report import read_report
from metrics.isolation import isolation_problem
from processes import run
from serving.stub_server import Stub, serving

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("EVAL_PYTHON", ROOT / ".venv-eval" / "bin" / "python"))
needs_opencompass = pytest.mark.skipif(not PYTHON.is_file(), reason="no .venv-eval here: make eval-test makes it")
SUMS = {f"Ann has {i} apples and gets {i} more. How many has she?": 2 * i for i in range(2, 6)}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"name": name, "description": "A tool.", "parameters": PARAMETERS} for name in ("weather", "finish")]
CALL = 'Thought: I look.\nAction: weather\nAction Input: {"city": "Bonn"}'
PYTHONIC = "weather(city='Mainz')"
ANSWER = {"weather": {"city": ["Mainz"]}}
PROBLEM = {
    "task_id": "HumanEval/0",
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
}


def write_data(folder: Path) -> Path:
    """OpenCompass's data folder and our tool data, a few items each."""
    lines = [json.dumps({"question": text, "answer": f"Twice.\n#### {total}"}) for text, total in SUMS.items()]
    for name, content in (
        ("data/gsm8k/train.jsonl", "\n".join(lines)),
        ("data/gsm8k/test.jsonl", "\n".join(lines)),
        ("data/humaneval/human-eval-v2-20210705.jsonl", json.dumps(PROBLEM)),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content + "\n", encoding="utf-8")
    prompt = "Rate {question} {answer}"
    both = "Rate {question_1} {answer_1} {question_2} {answer_2}"
    prompts = [("single-v1", prompt), ("single-v1-multi-turn", both), ("single-math-v1", prompt + " {ref_answer_1}")]
    prompts.append(("single-math-v1-multi-turn", both + " {ref_answer_1} {ref_answer_2}"))
    judging = [{"name": name, "system_prompt": "Judge.", "prompt_template": text} for name, text in prompts]
    asked = [{"question_id": i, "category": kind, "turns": ["Hi", "More"]} for i, kind in enumerate(("math", "stem"))]
    answer = {"question_id": 0, "choices": [{"turns": ["one", "two"]}]}
    for name, made in (("question", asked), ("judge_prompts", judging), ("reference_answer/gpt-4", [answer])):
        path = folder / "data" / "mt_bench" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in made), encoding="utf-8")
    system = f"You are an assistant. You have the following tools:\n{json.dumps(TOOLS)}"
    turns = [("system", system), ("user", "How is Bonn?"), ("assistant", [CALL])]
    record = {"id": 0, "scenario": "x", "conversations": [{"from": who, "value": what} for who, what in turns]}
    asked_only = {**record, "conversations": record["conversations"][:2], "path": "x"}
    named = {"id": "simple_0", "question": [[{"role": "user", "content": "How is Mainz?"}]], "function": TOOLS[:1]}
    api = {
        "Name": "Sky",
        "NLDocumentation": 'weather: Tells it.\nParameters: {"city": "Required. string. The city."}',
        "Function_Description": {"weather": 'Tells it.\nParameters: {"city": "Required. string. The city."}'},
        "Function_Projection": {"weather": ["/weather", "get"]},
        "Instructions": ["How is Bonn?"],
        "Golden_Answers": [[{"Action": "weather", "Action_Input": '{"city": "Bonn"}'}]],
    }
    for name, made in (
        ("rotbench/First_Turn/clean.json", json.dumps([record])),
        ("bfcl_v3/BFCL_v3_simple.json", json.dumps(named)),
        ("bfcl_v3/possible_answer/BFCL_v3_simple.json", json.dumps({"id": "simple_0", "ground_truth": [ANSWER]})),
        ("bfcl_v3/BFCL_v3_exec_simple.json", json.dumps({**named, "id": "exec_simple_0", "ground_truth": [PYTHONIC]})),
        ("toolalpaca/eval_real.json", json.dumps([api])),
        ("tooleyes/scenario_data_zero_processed.json", json.dumps([asked_only])),
    ):
        (folder / "tools" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tools" / name).write_text(made, encoding="utf-8")
    return folder


def write_mmlu(folder: Path) -> Path:
    """One question of each of the 57 subjects, and an example to show."""
    listing = "from opencompass.configs.datasets.mmlu.mmlu_all_sets import mmlu_all_sets; print(*mmlu_all_sets)"
    subjects = run([str(PYTHON), "-c", listing], folder).stdout.splitlines()[-1].split()
    for subject in subjects:
        for split in ("dev", "test"):
            path = folder / "data" / "mmlu" / split / f"{subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"Which letter is the third in {subject}?,A,B,C,D,C\n" * 5, encoding="utf-8")
    return folder


def completion(body: Any, content: str) -> Any:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "length"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return 200, {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


def gold(path: str, body: Any) -> Any:
    """Knows all answers."""
    if not body:
        return 200, {"data": [{"id": "stub"}]}
    asked = body["messages"][-1]["content"]
    for text, total in SUMS.items():
        if text in asked:
            return completion(body, f"So the answer is {total}")
    if "Rate " in asked:
        return completion(body, "Good. Rating: [[9]]" if "More" in asked else "Rating: [[6]]")
    if "Mainz" in asked:
        return completion(body, f"[{PYTHONIC}]")
    if "Which letter" in asked:
        return completion(body, "C" if "law" in asked else "D")
    if "def double" in asked:
        return completion(body, "```python\ndef double(x):\n    return 2 * x\n```")
    return completion(body, CALL)


def evaluate(stub: Stub, folder: Path, *words: str) -> Any:
    command = [str(PYTHON), str(ROOT / "evaluation" / "opencompass" / "run.py"), "--url", f"{stub.url}/v1"]
    options = ["--model", "stub", "--data", str(folder), "--tool_data", str(folder / "tools"), "--out", "out"]
    source = str(ROOT / "src")
    judge = {"LLAMAFACTORY_EXT_JUDGE_URL": f"{stub.url}/v1", "LLAMAFACTORY_EXT_JUDGE_MODEL": "stub"}
    return run([*command, *options, *words], folder, PYTHONPATH=source, HF_HUB_OFFLINE="1", **judge)


@needs_opencompass
def test_gold_answers_score_full_marks(tmp_path: Path) -> None:
    names = ["gsm8k", "tools", "mt_bench", *([] if isolation_problem() else ["humaneval"])]
    with serving(gold) as stub:
        result = evaluate(stub, write_data(tmp_path), "--only", ",".join(names), "--execute")
    assert result.returncode == 0, result.stdout + result.stderr
    found = {path.name.partition(".")[0]: read_report(path) for path in (tmp_path / "out").glob("*.official.json")}
    assert set(found) == {"gsm8k", "rotbench", "bfcl", "bfcl_ast", "toolalpaca", "tooleyes", *names} - {"tools"}
    for benchmark, report in found.items():
        # Turns of MT-Bench are rated 6 and 9; ToolEyes counts faults.
        full = {"mt_bench": 0.75, "tooleyes": 0.0}.get(benchmark, 1.0)
        assert {figure.value for figure in report.figures} == {full}, benchmark
        assert not report.partial
    assert (found["mt_bench"].figure("MT").n, found["mt_bench"].judge["replies"]) == (2, 4)
    assert found["gsm8k"].figure("GSM").n == 4


@needs_opencompass
def test_mmlu(tmp_path: Path) -> None:
    with serving(gold) as stub:
        result = evaluate(stub, write_mmlu(tmp_path), "--only", "mmlu", "--limit", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    report = read_report(tmp_path / "out" / "mmlu.official.json")
    assert report.n_predictions == report.figure("MMLU").n == 2 * 57
    assert report.n_references == 5 * 57
    assert report.figure("MMLU").value == pytest.approx(2 / 57)  # international and professional law


@needs_opencompass
def test_a_tiny_model_is_evaluated(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Few items, a random model: what counts is that every reply comes through, the empty ones too."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tiny_llama_dir),
        AutoTokenizer.from_pretrained(tiny_llama_dir),
    )

    def answer(path: str, body: Any) -> Any:
        if not body:
            return 404, ""
        ids = tokenizer.apply_chat_template(
            body["messages"][-1:], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        new = model.generate(**ids, max_new_tokens=4, do_sample=False)[0, ids["input_ids"].shape[1] :]
        is_third = "Ann has 4" in body["messages"][-1]["content"]
        return completion(body, "" if is_third else tokenizer.decode(new, skip_special_tokens=True))

    with serving(answer) as stub:
        result = evaluate(stub, write_data(tmp_path), "--only", "gsm8k", "--limit", "3", "--workers", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    report = read_report(tmp_path / "out" / "gsm8k.official.json")
    assert (report.n_predictions, report.n_references, report.partial) == (3, 4, True)
    assert "PARTIAL: 3 of 4" in result.stdout


@needs_opencompass
def test_a_failing_server_fails_the_run(tmp_path: Path) -> None:
    with serving(lambda path, body: (400, {"error": "broken"}) if body else (404, "")) as stub:
        result = evaluate(stub, write_data(tmp_path), "--only", "gsm8k")
    assert result.returncode == 1
    assert "gsm8k: OpenCompass ended without results" in result.stderr
    assert "log.txt says why" in result.stderr
    assert not list((tmp_path / "out").glob("*.json"))


@needs_opencompass
def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    with serving(gold) as stub:
        result = evaluate(stub, tmp_path, "--only", "gsm8k,humaneval,mmlu,tools,arc", "more")
    assert result.returncode == 1
    for told in (
        '"more" is one word too many',
        "gsm8k needs ",
        "data/mmlu/dev",
        "tools needs --tool_data",
        "only with --execute",
        '"arc" is no configuration',
    ):
        assert told in result.stderr
