"""What is measured of tool calls: who is right, what is invented, what a call costs, and when."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp
from transformers import TrainerCallback

from checkpoint.resume_cases import LORA
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.lab.documents import TEST, TRAIN, document_files, trained_tools
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.lab.tools import TOOLS
from llamafactory_ext.skintern.inputs import Inputs
from llamafactory_ext.skintern.internalised import FIGURES, read_internalised
from llamafactory_ext.skintern.measure import Item, Measure, is_right, names_of, read_items
from llamafactory_ext.toolcalls import ToolCall
from processes import train_options

ENTRY = {
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "tools": "tools", "mark": "mark", "task": "task"},
}
ITEM = Item("q", "", "[]", (ToolCall("Send", {"to": "Ann", "count": 3}),))


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("API-Request: [Send(to='Ann', count='3')]", True),
        ("API-Request: [Send(count=3, to='Ann')]", True),
        ('<tool_call>{"name": "Send", "arguments": {"to": "Ann", "count": 3}}</tool_call>', True),
        ("API-Request: [Send(to='Ann')]", False),
        ("API-Request: [Send(to='Bob', count=3)]", False),
        ("API-Request: [Send(to='Ann', count=3, now='x')]", False),
        ("API-Request: [Sends(to='Ann', count=3)]", False),
        ("API-Request: [Send(to='Ann', count=3), Send(to='Ann', count=3)]", False),
        ("I sent it.", False),
        ("", False),
    ],
)
def test_a_call_is_right(reply: str, right: bool) -> None:
    assert is_right(ITEM, reply) is right


def test_the_labs_requests() -> None:
    """Every trained tool is called; nothing that is asked is asked again; the others are other tools."""
    files = document_files()
    trained, others = trained_tools(), {tool.name for tool in TOOLS["unseen"]}
    names = {tool.name for tool in trained}
    assert not names & others
    calls = {
        name: [json.loads(record["conversations"][1]["value"])["name"] for record in records]
        for name, records in files.items()
    }
    assert set(calls["lab_docs.json"]) == set(calls["lab_docs_seen.json"]) == names
    assert set(calls["lab_docs_unseen.json"]) == others
    asked = [record["conversations"][0]["value"] for records in files.values() for record in records]
    assert len(asked) == len(set(asked)) == TRAIN + 2 * TEST
    for name, records in files.items():
        for record, called in zip(records, calls[name], strict=True):
            assert called in {tool["name"] for tool in json.loads(record["tools"])}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    info = {}
    for name, records in document_files(train=24, test=6).items():
        (folder / name).write_text(json.dumps(records), "utf-8")
        info[name.removesuffix(".json")] = {"file_name": name, **ENTRY}
    (folder / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    return folder


def options(data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stage": "skintern",
        "dataset": "lab_docs",
        "template": "llama3_api_bank",
        "skintern_steps": 2,
        "skintern_compressor": "tools",
        "skintern_measure": "lab_docs_seen,lab_docs_unseen",
        "cutoff_len": 512,
        "learning_rate": 1e-3,
        "max_steps": 1,
        "per_device_train_batch_size": 8,
        "save_strategy": "no",
        "overwrite_cache": True,
        **LORA,
    }
    return train_options(SHIPPED_MODEL, data, out, **(settings | changes))


def measure_of(data: Path, out: Path) -> tuple[Measure, Any]:
    """A measurement, and a model that writes what a test tells it to."""
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(options(data, out))
    found = Inputs(model_args, data_args, training_args, finetuning_args).measure
    assert found is not None
    return found, found.tokenizer


class Scripted(torch.nn.Module):
    """Answers a prompt by a function of its text."""

    def __init__(self, tokenizer: Any, answer: Any) -> None:
        super().__init__()
        from transformers import AutoConfig

        self.config, self.device = AutoConfig.from_pretrained(SHIPPED_MODEL), torch.device("cpu")
        self.tokenizer, self.answer = tokenizer, answer
        self.asked: list[str] = []

    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
        prompts = [
            self.tokenizer.decode(row[mask.bool()]) for row, mask in zip(input_ids, attention_mask, strict=True)
        ]
        self.asked += prompts
        replies = [self.tokenizer.encode(self.answer(prompt), add_special_tokens=False) for prompt in prompts]
        width = max(map(len, replies))
        pad = self.tokenizer.pad_token_id
        return torch.cat([input_ids, torch.tensor([reply + [pad] * (width - len(reply)) for reply in replies])], 1)


def test_shares_are_those_of_the_replies(data: Path, tmp_path: Path) -> None:
    """A model that knows every answer where documents are given, and invents a name where they are not."""
    measure, tokenizer = measure_of(data, tmp_path)
    (tmp_path).mkdir(exist_ok=True)
    answers = {item.question: item.calls[0] for item in [*measure.seen, *measure.unseen]}

    def answer(prompt: str) -> str:
        call = next(call for question, call in answers.items() if question in prompt)
        pairs = ", ".join(f"{key}='{value}'" for key, value in call.arguments.items())
        name = call.name if "API descriptions" in prompt else f"{call.name}Now"
        return f"API-Request: [{name}({pairs})]"

    model = Scripted(tokenizer, answer)
    measure.take(model, 0, 1.0)
    (row,) = read_internalised(tmp_path / "internalised.json").rows
    assert {name: row.accuracies[name].value for name in FIGURES} == dict(zip(FIGURES, (0, 1, 1, 1), strict=True))
    assert all("API descriptions" not in prompt for prompt in model.asked[: len(measure.seen)])
    asked = len(model.asked)
    measure.take(model, 0, 1.0)
    assert len(model.asked) == asked  # a row that is there is not measured again
    costs = measure.result().costs
    assert costs["documents"].prompt_tokens > 2 * costs["bare"].prompt_tokens
    assert costs["documents"].flops > costs["bare"].flops
    assert costs["documents"].kv_bytes > costs["bare"].kv_bytes


class InStepTwo(TrainerCallback):
    """Ctrl+C in the second step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if Path(args.output_dir).name == "phase-2-s2":
            raise KeyboardInterrupt


def test_a_run_measures_before_and_after_every_step(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An interrupted run ends with the same rows and weights as an unbroken one, measured or not."""
    run_exp(options(data, tmp_path / "whole"), [])
    assert "after step 2 (last)" in capfd.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        run_exp(options(data, tmp_path / "broken"), [InStepTwo()])
    run_exp(options(data, tmp_path / "broken"), [])
    run_exp(options(data, tmp_path / "plain", skintern_measure=""), [])
    rows = read_internalised(tmp_path / "whole" / "internalised.json").rows
    assert [(row.step, row.share) for row in rows] == [(0, 1.0), (1, 1.0), (2, 0.0)]
    name = "internalised.json"
    assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "plain" / name).exists()
    weights = {(tmp_path / out / "adapter_model.safetensors").read_bytes() for out in ("whole", "broken", "plain")}
    assert len(weights) == 1


def test_names_are_those_of_documents_and_calls(data: Path) -> None:
    items = read_items("lab_docs_seen", data)
    assert {call.name for item in items for call in item.calls} <= names_of(items)


@pytest.mark.parametrize("fault", ["no tools", "no call", "empty", "missing", "three"])
def test_what_cannot_be_measured_is_named_before_training(data: Path, tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    records = json.loads((folder / "lab_docs_seen.json").read_text("utf-8"))
    chosen = random.Random(0).randrange(len(records))
    named = f"index {chosen}"
    if fault == "no tools":
        records[chosen]["tools"] = ""
    elif fault == "no call":
        records[chosen]["conversations"][1] = {"from": "gpt", "value": "Done."}
    elif fault == "empty":
        records, named = [], "lab_docs_seen"
    (folder / "lab_docs_seen.json").write_text(json.dumps(records), "utf-8")
    measured = {"missing": "nothing", "three": "a,b,c"}.get(fault, "lab_docs_seen")
    with pytest.raises(
        (DataError, OptionError), match=named if fault in ("no tools", "no call", "empty") else measured
    ):
        run_exp(options(folder, tmp_path / "out", skintern_measure=measured), [])
    assert not (tmp_path / "out" / "phase-1-s1").exists()
