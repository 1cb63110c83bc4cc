"""Rivals with rows, prompts or targets of their own: MT-CoT, step by step, KARD, distillation; budgets are equal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp

from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.options.fates.row import Command
from llamafactory_ext.skintern.budget import Budget, budget_of, factor_of, told
from llamafactory_ext.skintern.build import Steps
from llamafactory_ext.skintern.compress import words_of
from llamafactory_ext.skintern.distil import KEPT, Teacher
from llamafactory_ext.skintern.fates import apart_problems
from llamafactory_ext.skintern.inputs import Inputs
from llamafactory_ext.skintern.plan import chain_of, steps_of
from llamafactory_ext.skintern.retrieval import WORDS, Document, Retrieval, documents_of, read_documents
from llamafactory_ext.skintern.row_weights import ANSWERS, RATIONALES, codes_of
from llamafactory_ext.skintern.sealed import APART, step_files
from llamafactory_ext.skintern.settings import Settings
from llamafactory_ext.training.losses import IGNORE_INDEX
from llamafactory_ext.training.token_weights import WEIGHTS_COLUMN, weights_of
from runs import listening
from skintern import short_runs
from skintern.knowledge import COLUMNS, knowledge_records

CUE = "Therefore, the answer is"


def steps(folder: Path, records: list[Any] | None = None, **settings: Any) -> Steps:
    (folder / "d.json").write_text(json.dumps(records or knowledge_records(12)), "utf-8")
    entry = DataEntry.of("d", {"file_name": "d.json", "columns": COLUMNS}, folder / "d.json")
    return Steps(entry, Settings(**{"shares": (0.0,), "shots": 0, **settings}))


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Rows


@pytest.mark.parametrize("rival", ["mt_cot", "step_by_step"])
def test_answers_and_rationales_are_rows_of_their_own(tmp_path: Path, rival: str) -> None:
    """The answer's prompt is the question alone, as at inference."""
    files = step_files({"d": steps(tmp_path, rows=rival)}, 0)
    answers, rationales = lines(files["records.jsonl"]), lines(files[f"1{APART}.jsonl"])
    records = knowledge_records(12)
    assert [(row["q"], row["a"]) for row in answers] == [(record["q"], record["a"]) for record in records]
    for row, record in zip(rationales, records, strict=True):
        assert row["q"].endswith(record["q"])
        assert row["q"] != record["q"]
        assert row["a"] == (record["r"] if rival == "step_by_step" else f"{record['r']} {CUE} {record['a']}")
    assert set(json.loads(files["dataset_info.json"])) == {"d", f"d{APART}"}


def test_rows_without_rationales_are_refused_and_single_ones_left_out(tmp_path: Path) -> None:
    records = knowledge_records(4)
    for record in records[:2]:
        record["r"] = ""
    assert len(list(steps(tmp_path, records, rows="mt_cot").rationales())) == 2
    with pytest.raises(DataError, match="no record has a rationale"):
        steps(tmp_path, [{**record, "r": ""} for record in records], rows="mt_cot")


@pytest.mark.parametrize("trained", [1, 2, 7, 1000])
def test_every_row_weighs_the_same_whatever_its_length(trained: int) -> None:
    for weight in (ANSWERS, RATIONALES):
        labels = [IGNORE_INDEX, *range(trained), IGNORE_INDEX]
        codes = codes_of(labels, weight)
        assert [code == 0 for code in codes] == [label == IGNORE_INDEX for label in labels]
        assert float(weights_of(torch.tensor(codes)).sum()) == pytest.approx(16 * weight, rel=1e-3)
        assert 16 * weight > 1  # below 1 the loss does not divide by it
    assert ANSWERS + RATIONALES == 1


# Documents


def test_the_best_documents_are_found_and_never_ones_own(tmp_path: Path) -> None:
    records = knowledge_records(6)
    for record, word in zip(records, ("apple", "apple", "pear", "plum", "fig", "kiwi"), strict=True):
        record["q"], record["k"] = f"How much is a {word}, number {record['a']}?", f"The {word} has a price."
    made = steps(tmp_path, records, shares=(1.0,), retrieved=True)
    prompts = [row["q"] for row in made.step(0)]
    assert "The apple has a price." in prompts[0]
    assert "The pear has a price." not in prompts[2]
    assert all(prompt.endswith(record["q"]) for prompt, record in zip(prompts, records, strict=True))


def test_bm25_by_hand() -> None:
    """Scores of two documents by the formula; ties go to the first, and nothing that shares no word is found."""
    documents = [Document("a a b"), Document("a c"), Document("d")]
    index = Retrieval(documents)
    mean, idf = 2.0, math.log(1 + (3 - 2 + 0.5) / 2.5)

    def score(count: int, length: int) -> float:
        return idf * count * 2.5 / (count + 1.5 * (0.25 + 0.75 * length / mean))

    assert score(2, 3) > score(1, 2)
    assert index.find(["a"]) == [["a a b", "a c"]]
    assert float(index._matrix[0, index._words["a"]]) == pytest.approx(score(2, 3))
    assert index.find(["x", ""]) == [[], []]
    assert Retrieval([Document("a"), Document("a")]).find(["a"], 1) == [["a"]]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"title": "T", "text": "one two"}\n{"text": "three"}\n', ["T: one two", "three"]),
        ('["one", "two"]', ["one", "two"]),
        ('{"title": "T"}\n', None),
        ('{"text": 3}\n', None),
        ('{"text": " "}\n', None),
        ("{", None),
    ],
)
def test_files_of_documents(tmp_path: Path, content: str, found: list[str] | None) -> None:
    path = tmp_path / ("d.json" if content.startswith("[") else "d.jsonl")
    path.write_text(content, "utf-8")
    if found is None:
        with pytest.raises(DataError, match=path.name):
            read_documents(path)
    else:
        assert [one.text for one in read_documents(path)] == found


def test_documents_keep_their_first_words(tmp_path: Path) -> None:
    long = [{**knowledge_records(1)[0], "k": " ".join(map(str, range(500)))}]
    (document,) = documents_of(steps(tmp_path, long).records)
    assert document.text.split() == [str(number) for number in range(WORDS)]


# Budgets


def test_budgets_are_counted_and_made_equal(tmp_path: Path) -> None:
    def count(text: str) -> int:
        return len(words_of(text))

    made = steps(tmp_path, shares=(1.0, 0.0))
    chain = budget_of({"d": made}, count)
    assert chain.rows == 12
    assert chain.tokens[0] > chain.tokens[1] > 0
    bare = [count(f"{record['q']}\n{record['r']} {CUE} {record['a']}") for record in knowledge_records(12)]
    assert chain.tokens[1] == sum(bare)
    rival = budget_of({"d": made}, count, Settings(shares=(0.0,), shots=0, rows="mt_cot"))
    assert rival.rows == 24
    parts = [1.0, 1.0]
    assert factor_of(rival, chain, [2.0], parts, "steps") * rival.rows == chain.rows
    factor = factor_of(rival, chain, [2.0], parts, "tokens")
    assert rival.total([2.0 * factor]) == pytest.approx(chain.total(parts))
    assert told(Budget(24, (100.0,)), [2.0], 16) == "2 epochs of 24 examples, 4 optimizer steps, about 200 tokens"


# Training


def options(model: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """Two steps, of which no prompt shows an example."""
    few = {"skintern_steps": 2, "skintern_shots": 0, "num_train_epochs": 2}
    return short_runs.options(model, folder, **(few | changes))


def inputs(model: Path, folder: Path, **changes: Any) -> Inputs:
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(options(model, folder, **changes))
    return Inputs(model_args, data_args, training_args, finetuning_args)


@pytest.mark.parametrize("budget", ["steps", "tokens"])
@pytest.mark.parametrize("rival", ["mt_cot", "kard", "std_cot"])
def test_a_rival_takes_what_the_chain_takes(tiny_llama_dir: Path, tmp_path: Path, rival: str, budget: str) -> None:
    found = inputs(tiny_llama_dir, tmp_path, skintern_baseline=rival, skintern_budget=budget)
    own, chain = found.budget(found.finetuning_args), found.budget(chain_of(found.finetuning_args))
    parts = [phase.epochs for phase in found.folder.phases]
    others = [phase.epochs for phase in steps_of(chain_of(found.finetuning_args), 2.0, 0.0)]
    if budget == "tokens":
        assert own.total(parts) == pytest.approx(chain.total(others))
    else:
        assert sum(parts) * own.rows == pytest.approx(sum(others) * chain.rows)


@pytest.mark.parametrize("rival", ["mt_cot", "step_by_step", "kard", "distil"])
def test_rivals_train_and_say_their_budget(tiny_llama_dir: Path, tmp_path: Path, rival: str) -> None:
    lines_said: list[str] = []
    with listening(lines_said, "skintern"):
        run_exp(options(tiny_llama_dir, tmp_path, skintern_baseline=rival), [])
    said = " ".join(lines_said)
    assert "This run: " in said
    assert "The chain of the same options: 2 epochs of 8 examples, 8 optimizer steps, about" in said
    logs = [lines(file.read_text("utf-8")) for file in sorted((tmp_path / "out").glob("phase-*/trainer_log.jsonl"))]
    assert sum(log[-1]["total_steps"] for log in logs) == 8
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_rows_of_both_kinds_have_their_weights(tiny_llama_dir: Path, tmp_path: Path) -> None:
    found = inputs(
        tiny_llama_dir, tmp_path, skintern_baseline="mt_cot", val_size=2, do_eval=True, eval_strategy="epoch"
    )
    (tmp_path / "out").mkdir()
    data = found.data_of(found.folder.phases[0])
    rows = [float(weights_of(torch.tensor(row)).sum()) for row in data["train_dataset"][WEIGHTS_COLUMN]]
    assert rows == pytest.approx([16 * ANSWERS] * 6 + [16 * RATIONALES] * 6, rel=1e-3)
    held = (
        next(iter(data["eval_dataset"].values())) if isinstance(data["eval_dataset"], dict) else data["eval_dataset"]
    )
    for codes, labels in zip(held[WEIGHTS_COLUMN], held["labels"], strict=True):
        trained = torch.tensor([label != IGNORE_INDEX for label in labels])
        assert torch.equal(weights_of(torch.tensor(codes)), trained.float())


def rows(*pairs: tuple[list[int], int]) -> list[dict[str, list[int]]]:
    """Prompts with the number of tokens at their ends that are trained."""
    return [{"input_ids": ids, "labels": [IGNORE_INDEX] * (len(ids) - k) + ids[len(ids) - k :]} for ids, k in pairs]


@pytest.fixture(scope="module")
def asked(tiny_llama_dir: Path) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32).eval()


def test_a_teacher_that_sees_the_same_leaves_no_loss_and_no_gradient(asked: Any) -> None:
    """KL is zero where the prompts are equal, on the tokens that are kept up to their part of the whole."""
    data = rows(([5, 6, 7, 8], 2), ([9, 10, 11], 1))
    teacher = Teacher.of(asked, data, data, 0)
    for row in data:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        logits = asked(input_ids=ids).logits.detach()
        p_KC, ids_KC = teacher.said[tuple(row["input_ids"])]
        kept = torch.softmax(logits[0, (labels[0, 1:] != IGNORE_INDEX).nonzero().squeeze(1)], -1).gather(1, ids_KC)
        loss = teacher.loss(logits, ids, torch.ones_like(ids), labels)
        assert p_KC.shape == (sum(label != IGNORE_INDEX for label in row["labels"]), KEPT)
        assert float(loss) == pytest.approx(float(-kept.sum(-1).log().sum()), abs=1e-5)


def test_a_teacher_with_knowledge_is_learned_from_the_question_alone(asked: Any) -> None:
    known, bare = rows(([20, 21, 5, 6, 7], 2)), rows(([5, 6, 7], 2))
    teacher = Teacher.of(asked, known, bare, 0)
    ids, labels = torch.tensor([bare[0]["input_ids"]]), torch.tensor([bare[0]["labels"]])
    expected = torch.softmax(asked(input_ids=torch.tensor([known[0]["input_ids"]])).logits[0, 2:4], -1)
    p_KC, ids_KC = teacher.said[tuple(bare[0]["input_ids"])]
    kept = expected.gather(1, ids_KC)
    assert torch.allclose(p_KC, kept / kept.sum(-1, keepdim=True), atol=1e-6)
    logits = torch.zeros(1, 3, asked.config.vocab_size, requires_grad=True)
    for _ in range(3):
        loss = teacher.loss(logits, ids, torch.ones_like(ids), labels)
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
    assert teacher.loss(logits, ids, torch.ones_like(ids), labels).item() < loss.item()


@pytest.mark.parametrize("bare", [rows(([5, 6, 7], 1)), rows(([5, 6, 8], 2)), rows(([5, 6, 7], 2), ([5, 6, 7], 2))])
def test_rows_of_other_records_are_no_students(asked: Any, bare: Any) -> None:
    with pytest.raises(DataError, match="distil needs every record"):
        Teacher.of(asked, rows(([20, 5, 6, 7], 2)), bare, 0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"skintern_budget": "tokens"}, "skintern_budget"),
        ({"skintern_documents": "x.jsonl"}, "skintern_documents"),
        ({"skintern_baseline": "mt_cot", "skintern_compressor": "tools"}, "knowledge in words"),
        ({"skintern_baseline": "kard", "skintern_compressor": "tools"}, "knowledge in words"),
        ({"skintern_baseline": "mt_cot", "skintern_last_share": 0.5}, "skintern_last_share"),
        ({"skintern_baseline": "other"}, "skintern_baseline"),
    ],
)
def test_conflicts_are_named_before_anything_is_loaded(
    tiny_llama_dir: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        get_train_args(options(tiny_llama_dir, tmp_path, **changes))


@pytest.mark.parametrize("rival", ["mt_cot", "step_by_step", "distil"])
def test_packed_rows_do_not_stay_apart(tiny_llama_dir: Path, tmp_path: Path, rival: str) -> None:
    with pytest.raises(OptionError, match=f"packing does not work with skintern_baseline: {rival}"):
        run_exp(options(tiny_llama_dir, tmp_path, skintern_baseline=rival, packing=True), [])
    assert not (tmp_path / "out" / "phase-1-s1").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skintern_baseline": "distil", "skintern_measure": None}, "distil does not work with DeepSpeed or FSDP"),
        ({"skintern_baseline": "none", "skintern_measure": "seen"}, "skintern_measure does not work with DeepSpeed"),
    ],
)
def test_what_an_engine_that_spreads_the_model_keeps_from_working(options: dict[str, Any], said: str) -> None:
    for fsdp in ("full_shard", ""):
        asked = SimpleNamespace(packing=False, deepspeed=None, fsdp=fsdp, **options)
        assert any(said in line for line in apart_problems(Command("skintern", {}, (asked,)))) == bool(fsdp)


def test_steps_that_end_amid_a_pass_are_said(tiny_llama_dir: Path, tmp_path: Path) -> None:
    for epochs, warned in ((3, True), (4, False)):
        said: list[str] = []
        with listening(said, "skintern"):
            inputs(tiny_llama_dir, tmp_path, num_train_epochs=epochs).report_budget()
        assert ("1.5, 1.5 epochs, which are not whole" in " ".join(said)) is warned
