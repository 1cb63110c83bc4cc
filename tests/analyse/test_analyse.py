"""The analyses against their formulas, on tiny models."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from transformers import AutoModelForCausalLM

import tiny
from llamafactory_ext.analyse import icc as icc_module
from llamafactory_ext.analyse import replace as replace_module
from llamafactory_ext.analyse.icc import icc, mean_states, similarities
from llamafactory_ext.analyse.inputs import Item, request_of, tasks_of
from llamafactory_ext.analyse.models import batches, load_model, modules_by_layer, nll
from llamafactory_ext.analyse.overlap import overlap, overlaps, thirds
from llamafactory_ext.analyse.parts import Parts
from llamafactory_ext.analyse.replace import chosen_components, replace, replaced
from llamafactory_ext.analyse.routers import mean_gates, routers
from llamafactory_ext.citi.importance_file import Importance, TaskScores
from llamafactory_ext.commands.analyse import _named, _shares
from llamafactory_ext.errors import CheckpointError, DataError, OptionError
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.progress import Shown

pytest.importorskip("llamafactory", reason="examples are encoded by LLaMA-Factory's processors")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a full training of it, a LoRA, a MOLoRA, data of three tasks and a YAML."""
    folder = tmp_path_factory.mktemp("world")
    tiny.save_tiny_model(folder / "base")
    tiny.save_tiny_model(folder / "full", seed=1)
    tiny.write_tiny_data(folder / "data", 24)
    for name, config in (
        ("lora", LoraConfig(target_modules=["q_proj", "down_proj"], r=2, init_lora_weights=False)),
        ("molora", MoLoraConfig(target_modules=["q_proj"], r=2, num_experts=2, init_weights=False)),
    ):
        torch.manual_seed(3)
        get_peft_model(tiny.tiny_model(), config).save_pretrained(folder / name)
    yaml = {"model_name_or_path": str(folder / "base"), "template": "llama3", "dataset": "tiny"}
    (folder / "run.yaml").write_text(json.dumps(yaml | {"dataset_dir": str(folder / "data")}), encoding="utf-8")
    base = tiny.tiny_model()
    linears = {name: list(m.weight.shape) for name, m in base.named_modules() if isinstance(m, torch.nn.Linear)}
    linears.pop("lm_head")
    rng = Random(0)
    tasks = {
        name: TaskScores(mark, 4, {component: rng.random() + 0.01 for component in linears})
        for name, mark in (("tool", "tool"), ("math", "general"), ("instructions", "general"))
    }
    Importance("base", linears, {"score": "eq4"}, tasks).save(folder / "importance.json")
    return folder


def test_tasks_come_from_the_records_and_learned_tokens_are_the_answers(world: Path) -> None:
    request = request_of(world / "run.yaml")
    tasks = tasks_of(request, 5, 0)
    assert [(task.name, task.mark, len(task.items)) for task in tasks] == [
        ("instructions", "general", 5),
        ("math", "general", 5),
        ("tool", "tool", 5),
    ]
    tokenizer = tiny.tiny_tokenizer()
    item = tasks[1].items[0]
    told = tokenizer.decode([token for token, learned in zip(item.ids, item.learned, strict=True) if learned])
    assert told.startswith("The answer is ")
    assert tasks_of(request, 5, 0) == tasks
    assert tasks_of(request, 5, 1) != tasks


def test_a_final_input_ends_within_the_last_answer() -> None:
    item = Item(tuple(range(10)), tuple(range(10)), (*[False] * 2, True, True, *[False] * 2, *[True] * 4))
    cuts = {item.cut(Random(seed)) for seed in range(200)}
    assert cuts == {tuple(range(end)) for end in (6, 7, 8, 9)}


def rows(*lengths: int) -> list[tuple[int, ...]]:
    rng = Random(1)
    return [tuple(rng.randrange(3, 300) for _ in range(length)) for length in lengths]


def test_batches_hold_every_row_once_and_padding_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamafactory_ext.analyse.models._TOKENS", 20)
    given = rows(3, 9, 4, 30, 5)
    seen: dict[int, tuple[int, ...]] = {}
    for chosen, ids_BT, mask_BT in batches(given):
        assert len(chosen) == 1 or ids_BT.numel() <= 20
        for line, row in enumerate(chosen):
            seen[row] = tuple(ids_BT[line][mask_BT[line].bool()].tolist())
    assert [seen[row] for row in range(5)] == given


def test_mean_states_are_those_of_each_input_alone(world: Path) -> None:
    model = load_model(world / "base")
    task = tasks_of(request_of(world / "run.yaml"), 4, 0)[0]
    found = torch.tensor(mean_states(model, task, "mlp", 0), dtype=torch.float64)
    rng = Random(f"0/{task.name}")
    alone = []
    for item in task.items:
        caught: list[torch.Tensor] = []
        handles = [
            module.register_forward_pre_hook(lambda _, args, caught=caught: caught.append(args[0][0, -1]))
            for module in modules_by_layer(model, "mlp").values()
        ]
        with torch.no_grad():
            model(input_ids=torch.tensor([item.cut(rng)]))
        for handle in handles:
            handle.remove()
        alone.append(torch.stack(caught).double())
    torch.testing.assert_close(found, torch.stack(alone).mean(0), atol=1e-6, rtol=1e-5)


@pytest.mark.fast
def test_cosine_of_changes() -> None:
    before = {"tool": torch.zeros(2, 2), "math": torch.ones(2, 2)}
    after = {"tool": torch.tensor([[1.0, 0], [0, 2]]), "math": torch.tensor([[1.0, 2], [1, 1]])}
    found = similarities(before, after, "tool")
    assert found["math"] == {"cosine": [0.0, None], "length": [1.0, 0.0]}
    assert found["tool"]["cosine"] == [1.0, 1.0]


def test_icc_is_zero_for_the_base_itself_and_goes_on_where_it_stopped(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {"same": world / "base", "lora": world / "lora"}
    first = icc(world / "run.yaml", trained, tmp_path / "out", 4, "mlp", 0, "cpu")
    assert first["models"]["same"]["math"] == {"cosine": [None, None], "length": [0.0, 0.0]}
    assert all(-1 <= value <= 1 for value in first["models"]["lora"]["math"]["cosine"])
    assert first["models"]["lora"]["tool"]["cosine"] == pytest.approx([1.0, 1.0])
    assert (tmp_path / "out/icc.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(icc_module, "load_model", lambda *_: pytest.fail("ran again"))
    assert icc(world / "run.yaml", trained, tmp_path / "out", 4, "mlp", 0, "cpu") == first


@pytest.mark.fast
def test_thirds_and_chance() -> None:
    scores = {name: float(value) for value, name in enumerate("abcdefgh")}
    assert thirds(scores) == ({"h", "g", "f"}, {"e", "d", "c"}, {"b", "a"})
    turned = {name: -value for name, value in scores.items()}
    found = overlaps({"one": scores, "same": scores, "turned": turned})
    assert found["groups"]["high"]["one"]["same"] == 1
    assert found["groups"]["high"]["one"]["turned"] == 0
    many = {f"c{number}": float(number) for number in range(300)}
    # Two thirds drawn by chance share a third of theirs: (n / 9) / (2 n / 3 - n / 9) = 1 / 5.
    assert overlaps({"one": many, "same": many})["random"] == pytest.approx(0.2, abs=0.01)


def test_overlap_of_an_importance_file(world: Path, tmp_path: Path) -> None:
    result = overlap(world / "importance.json", tmp_path / "o")
    assert result["groups"]["low"]["tool"]["math"] == result["groups"]["low"]["math"]["tool"]
    assert json.loads((tmp_path / "o/overlap.json").read_text("utf-8")) == result


@pytest.mark.fast
def test_shares_of_components() -> None:
    scores = dict(zip("abcde", (5.0, 1, 4, 2, 3), strict=True))
    assert chosen_components(scores, 0.4, True) == ["a", "c"]
    assert chosen_components(scores, 0.4, False) == ["b", "d"]
    with pytest.raises(OptionError, match="at least 20"):
        chosen_components(scores, 0.1, True)


def test_everything_replaced_is_the_trained_model_and_afterwards_the_base_is_whole(world: Path) -> None:
    base, full = load_model(world / "base"), load_model(world / "full")
    weights = {name: parameter.detach() for name, parameter in full.named_parameters()}
    before = {name: parameter.clone() for name, parameter in base.named_parameters()}
    owners = sorted({name.rpartition(".")[0] for name in before})
    ids = torch.tensor(rows(9))
    with replaced(base, weights, owners), torch.no_grad():
        assert torch.equal(base(ids).logits, full(ids).logits)
    assert all(torch.equal(parameter, before[name]) for name, parameter in base.named_parameters())


@pytest.mark.parametrize("trained", ["full", "lora"])
def test_replacement_table(world: Path, tmp_path: Path, trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: tuple[Any, ...] = (world / "importance.json", tmp_path / "out", (0.2, 1.0), 3, 0, "cpu")
    found = replace(world / "run.yaml", world / trained, *arguments)
    assert list(found["table"]["math"]) == ["vanilla", "T-20", "T-100", "D-20", "D-100"]
    for task in tasks_of(request_of(world / "run.yaml"), 3, 0):
        row = found["table"][task.name]
        assert row["vanilla"] == pytest.approx(nll(load_model(world / "base"), task))
        assert row["T-100"] == pytest.approx(row["D-100"])
        if trained == "lora":  # all that differs from the base is in linears that the file ranks
            assert row["T-100"] == pytest.approx(nll(load_model(world / "base", world / "lora"), task), rel=1e-4)
    monkeypatch.setattr(replace_module, "load_model", lambda *_: pytest.fail("ran again"))
    assert replace(world / "run.yaml", world / trained, *arguments) == found


def test_loss_is_that_of_the_model_itself(world: Path) -> None:
    model = load_model(world / "base")
    task = tasks_of(request_of(world / "run.yaml"), 3, 0)[2]
    total, tokens = 0.0, 0
    for item in task.items:
        labels = torch.tensor([[token if on else -100 for token, on in zip(item.labels, item.learned, strict=True)]])
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([item.ids]), labels=labels).loss
        count = sum(item.learned[1:])
        total, tokens = total + float(loss) * count, tokens + count
    assert nll(model, task) == pytest.approx(total / tokens, rel=1e-5)


def test_routers_gates_are_the_softmax_of_every_token(world: Path, tmp_path: Path) -> None:
    found = routers(world / "run.yaml", world / "molora", tmp_path / "out", 6, 0, "cpu")
    assert found["inputs"] == {"tool": 6, "general": 6}
    assert set(found["gates"]) == {f"model.layers.{layer}.self_attn.q_proj" for layer in range(2)}
    for row in found["gates"].values():
        assert [len(row[mark]) for mark in ("tool", "general")] == [3, 3]
        assert sum(row["tool"]) == pytest.approx(1)
    model = load_model(world / "base", world / "molora")
    task = tasks_of(request_of(world / "run.yaml"), 2, 0)[0]
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].detach()))
    for item in task.items:
        model(input_ids=torch.tensor([item.ids]))
    handle.remove()
    expected = torch.cat(seen) @ layer.molora_router["default"].weight.T
    gates = mean_gates(model, task)["model.layers.0.self_attn.q_proj"]
    torch.testing.assert_close(
        torch.tensor(gates), expected.softmax(-1).mean(0), atol=1e-5, rtol=1e-4, check_dtype=False
    )


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    parts = Parts.claimed(tmp_path, "x")
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return 7

    with Shown(Console(file=io.StringIO())) as shown:
        assert parts.part("a", {"k": 1}, make, shown) == parts.part("a", {"k": 1}, make, shown) == 7
        assert parts.part("a", {"k": 2}, make, shown) == 7
    assert len(made) == 2


def bad(world: Path) -> Iterator[tuple[str, Any, type[Exception], str]]:
    yaml, imp = world / "run.yaml", world / "importance.json"
    out = world / "bad"
    yield (
        "no yaml",
        lambda: icc(world / "no.yaml", {"a": world / "full"}, out, 2, "mlp", 0, "cpu"),
        DataError,
        "no.yaml",
    )
    yield "no model", lambda: icc(yaml, {"a": world / "data"}, out, 2, "mlp", 0, "cpu"), CheckpointError, "--trained"
    yield "module", lambda: icc(yaml, {"a": world / "full"}, out, 2, "mlpp", 0, "cpu"), OptionError, "mlpp"
    yield "unmerged", lambda: replace(yaml, world / "molora", imp, out, (0.5,), 2, 0, "cpu"), CheckpointError, "merged"
    yield "share", lambda: replace(yaml, world / "full", imp, out, (0.001,), 2, 0, "cpu"), OptionError, "--shares"
    yield "no routers", lambda: routers(yaml, world / "lora", out, 2, 0, "cpu"), CheckpointError, "MOLoRA"
    yield "file", lambda: overlap(world / "run.yaml", out), CheckpointError, "importance"


def test_bad_input_is_refused_in_one_line(world: Path) -> None:
    for name, call, kind, words in bad(world):
        with pytest.raises(kind, match=words) as caught:
            call()
        assert "\n" not in str(caught.value).strip() or name == "no model", name
    assert not list((world / "bad").glob("*.json"))


@pytest.mark.fast
@pytest.mark.parametrize("shares", [0, "x", "20,", "20,101", (), "-5", "nan"])
def test_odd_shares(shares: object) -> None:
    if shares == "20,":
        assert _shares(shares) == (0.2,)
        return
    with pytest.raises(OptionError, match=r"--shares .*per cent"):
        _shares(shares)


@pytest.mark.fast
def test_names_of_trained_models() -> None:
    assert _named(("a=x/y", "z/w")) == {"a": Path("x/y"), "w": Path("z/w")}
    for odd in ("x/a,y/a", "base=x", "=x", ""):
        with pytest.raises(OptionError, match="--trained"):
            _named(odd)


def test_data_without_tools_are_refused(world: Path, tmp_path: Path) -> None:
    tiny.write_tiny_data(tmp_path / "data", 8)
    records = [one for one in tiny.tiny_records(8) if one["mark"] == "general"]
    (tmp_path / "data/tiny.json").write_text(json.dumps(records), encoding="utf-8")
    yaml = json.loads((world / "run.yaml").read_text("utf-8")) | {"dataset_dir": str(tmp_path / "data")}
    (tmp_path / "run.yaml").write_text(json.dumps(yaml), encoding="utf-8")
    with pytest.raises(OptionError, match="0 tasks marked tool"):
        icc(tmp_path / "run.yaml", {"a": world / "full"}, tmp_path / "o", 2, "mlp", 0, "cpu")
    with pytest.raises(OptionError, match="no data marked tool"):
        routers(tmp_path / "run.yaml", world / "molora", tmp_path / "o", 2, 0, "cpu")


def test_models_load_in_float32_on_a_cpu(world: Path) -> None:
    AutoModelForCausalLM.from_pretrained(world / "base", dtype=torch.bfloat16).save_pretrained(world / "half")
    assert next(load_model(world / "half").parameters()).dtype == torch.float32
