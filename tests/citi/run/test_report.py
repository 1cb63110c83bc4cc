"""The report's figures are what greedy generation and the plain loss give, before and after."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

import tiny
from llamafactory_ext.citi.router_backward import RouterLoss
from llamafactory_ext.citi.run.report import Report, TaskFigures, as_table, make_report
from llamafactory_ext.molora import MoLoraConfig

pytestmark = pytest.mark.fast

PROMPT, ANSWER, EOS, PAD = 4, 6, 4, 1
KNOWN, UNKNOWN = 5, 3


def example(i: int, *, tool: bool) -> dict[str, Any]:
    """A random prompt and a random answer that ends with the end-of-turn token."""
    draw = torch.Generator().manual_seed(i)
    prompt = torch.randint(5, 380, (PROMPT,), generator=draw).tolist()
    answer = [
        *torch.randint(5, 380, (int(torch.randint(1, ANSWER, (), generator=draw)),), generator=draw).tolist(),
        EOS,
    ]
    ids = prompt + answer
    return {
        "input_ids": ids,
        "labels": [-100] * PROMPT + answer,
        "attention_mask": [1] * len(ids),
        "citi_marks": [1 + tool] * len(ids),
    }


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    length = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": PAD, "labels": -100, "attention_mask": 0, "citi_marks": 0}
    return {
        name: torch.tensor([row[name] + [pad] * (length - len(row[name])) for row in rows])
        for name, pad in fill.items()
    }


EXAMPLES = [example(i, tool=i < KNOWN) for i in range(KNOWN + UNKNOWN)]
ROWS = {"tool": ("tool", list(range(KNOWN))), "math": ("general", list(range(KNOWN - 1, KNOWN + UNKNOWN)))}


@pytest.fixture(scope="module")
def overfitted() -> PeftModel:
    """A model whose adapter knows the first answers by heart, and whose base knows none."""
    torch.manual_seed(0)
    config = MoLoraConfig(
        target_modules=["down_proj", "up_proj", "o_proj", "v_proj", "q_proj"], r=16, alpha=32, num_experts=2
    )
    base = tiny.tiny_model()
    base.get_output_embeddings().weight.data *= 4  # so that logits can be large enough to be sure
    model = get_peft_model(base, config)
    batch = collate(EXAMPLES[:KNOWN])
    batch.pop("citi_marks")
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    return model


@pytest.fixture(scope="module")
def report(overfitted: PeftModel) -> Report:
    router = RouterLoss(list(overfitted.base_model.molora_layers()), delta=0.95, beta=0.01, scope="batch")
    overfitted.base_model.set_gate_loss(router)
    overfitted.train()
    made = make_report(overfitted, router, EXAMPLES, ROWS, collate, source="examples", batch_size=3)
    assert overfitted.training, "the mode is put back"
    overfitted.base_model.set_gate_loss(None)
    return made


def generated_exactly(model: PeftModel, row: dict[str, Any]) -> bool:
    answer = [token for token in row["labels"] if token != -100]
    prompt = torch.tensor([row["input_ids"][:PROMPT]])
    with torch.no_grad():
        found = model.eval().generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=len(answer),
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    return bool(found[0, PROMPT:].tolist() == answer)


def test_exact_is_the_exact_match_of_greedy_generation(overfitted: PeftModel, report: Report) -> None:
    for task, (_, rows) in ROWS.items():
        right = [generated_exactly(overfitted, EXAMPLES[row]) for row in rows]
        figures = report.after[task]
        assert figures.examples == len(rows)
        assert figures.exact == sum(right) / len(rows)
        assert figures.exact_se == pytest.approx(math.sqrt(figures.exact * (1 - figures.exact) / len(rows)))
        with overfitted.disable_adapter():
            assert report.before[task].exact == sum(generated_exactly(overfitted, EXAMPLES[row]) for row in rows)
    assert report.after["tool"].exact == 1
    assert 0 < report.after["math"].exact < 1, "one example of the other task is known"


def test_the_loss_is_the_models_own_per_example(overfitted: PeftModel, report: Report) -> None:
    overfitted.eval()
    for task, (_, rows) in ROWS.items():
        losses = []
        for row in rows:
            batch = collate([EXAMPLES[row]])
            batch.pop("citi_marks")
            with torch.no_grad():
                losses.append(overfitted(**batch).loss.item())
        figures = report.after[task]
        assert figures.loss == pytest.approx(sum(losses) / len(losses), rel=1e-4, abs=1e-5)
        assert figures.loss_se == pytest.approx(
            torch.tensor(losses).std().item() / math.sqrt(len(losses)), rel=1e-3, abs=1e-5
        )
        assert report.before[task].loss > figures.loss


def test_gates_are_means_over_the_tokens_of_each_class(overfitted: PeftModel, report: Report) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    layers = overfitted.base_model.molora_layers()
    handles = [
        layer.register_forward_pre_hook(
            lambda module, inputs, name=name: seen.setdefault(name, []).append(module.gates(inputs[0]))
        )
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        for row in ROWS["tool"][1]:
            overfitted.eval()(input_ids=torch.tensor([EXAMPLES[row]["input_ids"]]))
    for handle in handles:
        handle.remove()
    known_general = KNOWN - 1  # this row stands in both tasks, and its tokens are tool tokens in both
    for name in layers:
        tokens = torch.cat([gates[0] for gates in [*seen[name], seen[name][known_general]]])
        assert report.gates[name]["tool"] == pytest.approx(tokens.mean(0).tolist(), abs=1e-5)
        assert sum(report.gates[name]["general"]) == pytest.approx(1, abs=1e-6)
    assert set(report.gates) == set(layers)


def test_the_table_says_n_and_the_standard_error() -> None:
    before, after = TaskFigures(64, 2.0, 0.25, 0.0, 0.0), TaskFigures(64, 1.5, 0.125, 0.5, 0.0625)
    made = Report("held-out examples", {"tool": before}, {"tool": after}, {"tool": "tool"}, {})
    lines = as_table(made).splitlines()
    assert lines[0] == "Before and after training, on held-out examples"
    assert " ".join(lines[2].split()) == "tool tool 64 2.000 ± 0.250 1.500 ± 0.125 0.0% ± 0.0% 50.0% ± 6.2%"
    assert "standard error" in lines[-1]


def test_one_example_has_no_standard_error(overfitted: PeftModel) -> None:
    router = RouterLoss(list(overfitted.base_model.molora_layers()), delta=0.95, beta=0.01, scope="sample")
    overfitted.base_model.set_gate_loss(router)
    made = make_report(overfitted, router, EXAMPLES, {"tool": ("tool", [0])}, collate, source="one", batch_size=8)
    overfitted.base_model.set_gate_loss(None)
    assert (made.after["tool"].examples, made.after["tool"].loss_se, made.after["tool"].exact_se) == (1, 0.0, 0.0)
    assert all(gates["general"] == [0, 0, 0] for gates in made.gates.values()), "no general token was seen"


def test_a_report_is_plain_json(report: Report, tmp_path: Path) -> None:
    data = report.to_dict()
    assert data["marks"] == {"tool": "tool", "math": "general"}
    assert data["after"]["tool"]["examples"] == KNOWN
