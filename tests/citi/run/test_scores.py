"""Which score a run ranks by: eq. 4 where it exists for every component, else another for all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import pytest
from llamafactory.hparams import get_infer_args
from transformers import AutoModelForCausalLM, Qwen3Config, set_seed

import tiny
from llamafactory_ext.citi import importance, scoring
from llamafactory_ext.citi.importance_file import Importance
from llamafactory_ext.commands.importance import Importance as Command
from llamafactory_ext.errors import CheckpointError, ExtError, OptionError
from llamafactory_ext.methods import listed
from runs import Run, citi_options, equal, listening, train

WHY = "it is 0 by construction for 4 of 14 components (k_proj, q_proj), whose scale a norm behind them hides"


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that normalises q and k."""
    folder = tmp_path_factory.mktemp("normed") / "base"
    set_seed(0)
    config = Qwen3Config(
        vocab_size=384,
        hidden_size=tiny.HIDDEN,
        intermediate_size=tiny.INTERMEDIATE,
        num_hidden_layers=2,
        num_attention_heads=tiny.HEADS,
        num_key_value_heads=tiny.KV_HEADS,
        head_dim=8,
        max_position_embeddings=4096,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=4,
        pad_token_id=1,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tiny.tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ran(normed: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run on it; read-only."""
    return train(citi_options(normed, tiny_data_dir, tmp_path_factory.mktemp("ran")), pictures=True)


def test_auto_takes_another_score_for_all_and_says_so_once(ran: Run) -> None:
    lines = [line for line in ran.said if "citi_importance_score" in line]
    assert lines == [
        f"Importance: of eq. 4, {WHY}; the sum of absolute first-order terms (SNIP) is taken for all components "
        "instead (citi_importance_score: snip)."
    ]
    found = ran.json("importance.json")
    assert (found["settings"]["score"], found["settings"]["reduction"]) == ("snip", "example")
    assert found["settings"]["instead_of_eq4"] == WHY
    assert all(min(task["scores"].values()) > 0 for task in found["tasks"].values())
    shown = Command().show(str(ran.path / "importance.json"), 0.3, 0.2)
    assert f"The scores are the sum of absolute first-order terms (SNIP): of eq. 4, {WHY}." in shown
    assert (
        "sum of absolute first-order terms (SNIP); of eq. 4, it is 0 by construction"
        in (ran.path / "README.md").read_text()
    )


def test_no_component_is_tuned_in_full_because_eq_4_vanishes_for_it(ran: Run) -> None:
    """Eq. 4 would give the four normed ones the bottom ranks; here the scores of all decide."""
    scores = Importance.load(ran.path / "importance.json")
    general = scores.general_scores()
    selection = ran.json("selection.json")
    free = [name for name in sorted(general, key=general.__getitem__) if name not in selection["adapted"]]
    assert selection["tuned"] == free[: len(selection["tuned"])]
    hidden = {name for name in general if name.endswith(("q_proj", "k_proj"))}
    assert {*sorted(general, key=general.__getitem__)[:4]} != hidden


def test_an_explicit_eq_4_stops_there(normed: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        train(citi_options(normed, tiny_data_dir, tmp_path, citi_importance_score="eq4"))
    assert WHY in error.value.message
    assert "citi_importance_score: auto" in error.value.message
    assert len(error.value.message.splitlines()) == 2, "the heading, and the one thing that does not work"
    assert not [*tmp_path.iterdir()]


def test_an_interrupted_pass_goes_on_with_the_score_that_it_took(
    ran: Run, normed: Path, tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    score = importance.part_scores

    def dying(*args: Any, **kwargs: Any) -> importance.PartScores:
        scored.append(args[3])
        if scored.count("snip") == 3:
            raise KeyboardInterrupt
        return score(*args, **kwargs)

    monkeypatch.setattr(scoring, "part_scores", dying)
    options = citi_options(normed, tiny_data_dir, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(options)
    assert {*scored} == {"eq4", "snip"}
    scored.clear()
    scored.extend(["snip"] * 3)
    run = train(options)
    assert {*scored} == {"snip"}, "eq. 4 is not tried again"
    assert not any("citi_importance_score" in line for line in run.said)
    assert equal(run.weights(), ran.weights())


@pytest.mark.parametrize("score", ["eq4", "snip", "fisher", "wanda"])
def test_every_score_can_be_asked_for(score: str, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path, citi_phases="rp", citi_importance_score=score)
    settings = train(options).json("importance.json")["settings"]
    assert settings["score"] == score
    assert "instead_of_eq4" not in settings
    assert settings["reduction"] == ("dataset" if score == "eq4" else "example")


def test_auto_is_eq_4_where_it_exists(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    run = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path, citi_phases="rp"))
    assert run.json("importance.json")["settings"]["score"] == "eq4"
    assert not any("citi_importance_score" in line for line in run.said)


def test_an_adapter_of_another_family_is_named_before_a_model_is_loaded(ran: Run, tiny_llama_dir: Path) -> None:
    options = {"model_name_or_path": str(tiny_llama_dir), "template": "llama3", "finetuning_type": "citi"}
    with pytest.raises(
        ExtError, match=r"was trained on a qwen3, and model_name_or_path=.* is a llama; name its own"
    ) as e:
        get_infer_args(options | {"adapter_name_or_path": str(ran.path)})
    assert len(e.value.message.splitlines()) <= 2


# Files


@pytest.mark.parametrize(("asked", "message"), [("auto", None), ("snip", None), ("eq4", "holds snip scores")])
def test_a_file_of_another_score_than_asked_for_is_refused(
    asked: str, message: str | None, ran: Run, normed: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    options = citi_options(normed, tiny_data_dir, tmp_path / "run", citi_phases="rp", citi_importance_score=asked)
    options["citi_importance_load"] = str(ran.path / "importance.json")
    if message is None:
        said: list[str] = []
        idle = {"citi_importance_stop": 0.9, "citi_importance_dtype": "model"} if asked == "snip" else {}
        with listening(said, "citi"):
            run = train(options | idle)
        assert run.json("selection.json")["adapted"] == ran.json("selection.json")["adapted"]
        found = [line for line in said if "no effect, as the importance is read from" in line]
        # The options of `citi_options` name a number of samples as well.
        assert [line.partition(":")[0] for line in found] == [listed(("citi_importance_samples", *idle))]
        return
    with pytest.raises(ExtError, match=message) as error:
        train(options)
    assert "citi_importance_score: snip" in error.value.message
    assert not (tmp_path / "run").exists()


def old(ran: Run, path: Path) -> Path:
    """What an earlier version wrote about this model: eq. 4, with a list of what it says nothing about."""
    content = ran.json("importance.json")
    for name in ("score", "instead_of_eq4"):
        del content["settings"][name]
    content["settings"]["reduction"] = "dataset"
    for task in content["tasks"].values():
        task["vanishing"] = [name for name in task["scores"] if name.endswith(("q_proj", "k_proj"))]
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_file_of_an_earlier_version_whose_scores_vanish_is_refused(
    ran: Run, normed: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    options = citi_options(normed, tiny_data_dir, tmp_path / "run")
    with pytest.raises(ExtError, match=r"eq. 4 is 0 by construction for 4 of 14 components") as error:
        train(options | {"citi_importance_load": str(old(ran, tmp_path / "old.json"))})
    assert "Leave out citi_importance_load" in error.value.message
    assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match=r"an earlier version ranked by eq. 4, which is 0 by construction for 4"):
        train(options | {"citi_importance_save": str(tmp_path / "old.json")})


def test_a_score_of_a_later_version_is_named(tmp_path: Path, ran: Run) -> None:
    content = ran.json("importance.json")
    content["settings"]["score"] = "hessian"
    (tmp_path / "new.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds the score 'hessian', which this version does not know"):
        Importance.load(tmp_path / "new.json")


def test_a_reduction_that_nothing_reads_is_refused(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_importance_reduction="batch")
    with pytest.raises(OptionError, match="citi_importance_reduction: batch has no effect with citi_importance_score"):
        train(options | {"citi_importance_score": "wanda"})


def test_a_run_that_stops_early_keeps_it_in_its_file(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = tiny.write_tiny_data(tmp_path / "data", 320)
    options = citi_options(tiny_llama_dir, data, tmp_path / "run", citi_phases="rp", citi_importance_samples=3000)
    run = train(options | {"citi_importance_stop": 0.01, "max_steps": 2})
    found = run.json("importance.json")
    assert found["settings"]["stop"] == {"threshold": 0.01, "top": 0.3, "bottom": 0.0, "end": "top"}
    assert {name: task["examples"] for name, task in found["tasks"].items()} == {
        "tool": 64,
        "math": 64,
        "instructions": 64,
    }
    assert "Importance of task tool is stable after 64 of 160 examples." in run.said
