"""Whose scores a file holds: of every pair of families, other weights and other number types, on every way to load."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn

from family_models import COMMON, MODELS
from llamafactory_ext.checkpoint.base import check_loaded, difference, identity_of
from llamafactory_ext.citi.importance_file import Importance, TaskScores
from llamafactory_ext.citi.options import CitiArguments
from llamafactory_ext.citi.run.early import early_problems
from llamafactory_ext.citi.scoring import shapes_of
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.families import FAMILIES, family_of
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.upstream.pipeline import named, skeleton

pytestmark = pytest.mark.fast
SMALL = {"hidden_size": 32, "intermediate_size": 48, "head_dim": 8, "vocab_size": 64}
MOE = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
# Of all, so that shapes alone do not tell most families apart.
SAME = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True, "sliding_window": 16}
TYPES = [row.model_type for row in FAMILIES]


def model_of(model_type: str, seed: int = 0, *, meta: bool = False, **changes: Any) -> nn.Module:
    """A model of a family, smaller than those of the other tests and alike in shape where it can be."""
    own = next(own for kind, own in MODELS.values() if kind == model_type)
    row = family_of(model_type)
    assert row is not None
    config = getattr(transformers, row.config)(**(COMMON | own | SMALL | SAME | MOE | changes))
    torch.manual_seed(seed)
    with torch.device("meta" if meta else "cpu"):
        made: nn.Module = getattr(transformers, row.model)(config)
    return made


@cache
def whole(model_type: str) -> nn.Module:
    return model_of(model_type)


@cache
def bare(model_type: str) -> nn.Module:
    return model_of(model_type, meta=True)


def scored(model: nn.Module, score: str = "snip", **settings: Any) -> Importance:
    """A file about a model, as a run writes it."""
    names = shapes_of(model)
    tasks = {
        name: TaskScores(mark, 4, dict.fromkeys(names, 1.0), tokens=9)
        for name, mark in (("tool", "tool"), ("math", "general"))
    }
    return Importance("its base", names, {"score": score, **settings}, tasks, identity_of(model))


def problems_of(model: nn.Module, **options: Any) -> list[str]:
    """What a command says before anything is loaded."""
    return early_problems(model, CitiArguments(citi_top_ratio=0.3, citi_bottom_ratio=0.2, **options))


def loads(model: nn.Module, path: Path) -> list[str]:
    return problems_of(model, citi_importance_load=str(path))


def test_shapes_alone_do_not_tell_families_apart() -> None:
    """The fault that the tests below are about: what is compared beside shapes is what tells."""
    alike = [kind for kind in TYPES if shapes_of(bare(kind)) == shapes_of(bare("llama"))]
    assert len(alike) >= 6


@pytest.mark.parametrize("theirs", TYPES)
def test_only_its_own_family_takes_a_file(theirs: str, tmp_path: Path) -> None:
    path = tmp_path / "importance.json"
    file = scored(whole(theirs))
    file.save(path)
    assert Importance.load(path) == file
    for ours in TYPES:
        problems = loads(bare(ours), path)
        if ours == theirs:
            assert problems == []
            continue
        assert len(problems) == 1
        assert f"{path} belongs to another model (its base): that is a {theirs}, this one a {ours}" in problems[0]
        assert "Leave out citi_importance_load, or name the file of this base model" in problems[0]
        assert file.base_problem(path, whole(ours)) is not None, "with its weights"


@pytest.mark.parametrize("theirs", TYPES)
def test_a_run_half_done_and_an_adapter_are_of_their_own_family(theirs: str, tmp_path: Path) -> None:
    manifest = {"base": identity_of(whole(theirs))}
    for ours in TYPES:
        assert (difference(manifest, tmp_path, whole(ours)) is None) == (ours == theirs)


@pytest.mark.parametrize("kind", TYPES)
def test_other_weights_are_another_model_and_other_number_types_are_not(kind: str, tmp_path: Path) -> None:
    file = scored(whole(kind))
    for dtype in (torch.bfloat16, torch.float16):
        assert file.other_base(tmp_path, model_of(kind).to(dtype)) is None
    other = str(file.other_base(tmp_path, model_of(kind, seed=1)))
    assert re.fullmatch(r"the weights of model\.layers\.0\.[\w.]+ differ", other)
    assert file.other_base(tmp_path, bare(kind)) is None, "its weights are not there yet"
    resized: Any = copy.deepcopy(whole(kind))
    resized.resize_token_embeddings(72)
    assert file.other_base(tmp_path, resized) is None, "rows of embeddings and head are no components"
    changed = model_of(kind, meta=True, rms_norm_eps=0.5)
    assert file.other_base(tmp_path, changed) == f"its rms_norm_eps is 0.5, was {whole(kind).config.rms_norm_eps}"


@pytest.mark.parametrize("kind", TYPES)
def test_weights_beyond_the_first_ones_tell_too(kind: str, tmp_path: Path) -> None:
    """As of a model that was trained on in some rows; a file of an earlier version has the first weights alone."""
    file, changed = scored(whole(kind)), copy.deepcopy(whole(kind))
    with torch.no_grad():
        for module in changed.modules():
            if isinstance(module, nn.Linear):
                module.weight.flatten()[module.weight.numel() // 2 :] *= 1.1
    assert "differ" in str(file.other_base(tmp_path, changed))
    for facts in file.identity["linears"].values():
        del facts["sample"][4:]
    assert file.other_base(tmp_path, changed) is None
    assert file.other_base(tmp_path, whole(kind)) is None


def test_what_training_sets_in_a_configuration_is_no_other_model(tmp_path: Path) -> None:
    file = scored(whole("qwen3_moe"))
    trained = model_of("qwen3_moe", output_router_logits=True, router_aux_loss_coef=0.5)
    assert file.other_base(tmp_path, trained) is None


# Eq. 4


def hidden(kind: str) -> bool:
    """Whether the table says that a norm follows some of a family's linears."""
    row = family_of(kind)
    assert row is not None
    return bool({"q/k norm", "post-norm"} & {*row.structure})


@pytest.mark.parametrize("kind", TYPES)
def test_eq_4_is_refused_before_anything_is_loaded_where_it_vanishes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "importance.json"
    scored(whole(kind), "eq4").save(path)
    asked = problems_of(bare(kind), citi_importance_score="eq4")
    loaded = loads(bare(kind), path)
    assert [len(asked), len(loaded)] == [hidden(kind)] * 2
    if hidden(kind):
        assert "citi_importance_score: eq4 does not exist here: it is 0 by construction for" in asked[0]
        assert "holds scores by eq. 4, and on this model it is 0 by construction for" in loaded[0]
    assert problems_of(bare(kind), citi_importance_score="snip") == []


@pytest.mark.parametrize("kind", ["qwen3", "smollm3"])
def test_a_bias_before_the_norm_shows_the_scale(kind: str) -> None:
    """Beside a bias the norm does see how large W is, so that eq. 4 is there."""
    model = model_of(kind, meta=True, attention_bias=True)
    assert problems_of(model, citi_importance_score="eq4") == []


# Files of earlier versions


def old(path: Path, file: Importance) -> Path:
    """The same file without what this version adds."""
    content = {"format": 1, **asdict(file)}
    del content["identity"]
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_file_of_an_earlier_version_loads_with_a_note(tmp_path: Path) -> None:
    path = old(tmp_path / "old.json", scored(whole("llama"), "eq4"))
    assert loads(bare("llama"), path) == []
    note = Importance.load(path).unknown_base(path)
    assert note is not None
    assert "It names its base; if that is another model, compute the file anew" in note
    assert scored(whole("llama")).unknown_base(path) is None


@pytest.mark.parametrize("kind", ["smollm3", "qwen3"])
def test_an_old_file_that_says_what_is_not_so_here_is_of_another_model(kind: str, tmp_path: Path) -> None:
    why = "it is 0 by construction for 4 of 14 components (k_proj, q_proj), whose scale a norm behind them hides"
    path = old(tmp_path / "old.json", scored(whole(kind), instead_of_eq4=why))
    problems = loads(bare(kind), path)
    assert len(problems) == (not hidden(kind))
    if problems:
        assert f"it says of eq. 4 that {why}, and on this model it is 0 for none" in problems[0]


@pytest.mark.parametrize(
    "identity",
    [[], 3, {"config": 1, "linears": {}}, {"config": {}}, {"config": {}, "linears": {"a": {"shape": [1, 2]}}}],
)
def test_a_damaged_identity_is_named(identity: Any, tmp_path: Path) -> None:
    path = tmp_path / "importance.json"
    content = {"format": 1, **asdict(scored(whole("llama")))} | {"identity": identity}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="is no importance file"):
        Importance.load(path)


# Adapters


def adapter_of(model: Any, folder: Path, *, manifest: bool) -> Path:
    """A plain LoRA or, with a manifest, one of CITI, as a run on the model leaves it."""
    names = list(shapes_of(model))[:2]
    config: Any = (
        MoLoraConfig(target_modules=names, num_experts=2, r=2, task_type="CAUSAL_LM")
        if manifest
        else LoraConfig(target_modules=names, r=2, task_type="CAUSAL_LM")
    )
    get_peft_model(copy.deepcopy(model), config).save_pretrained(folder)
    if manifest:
        (folder / "manifest.json").write_text(json.dumps({"base": identity_of(model)}), encoding="utf-8")
    return folder


ALIKE = ["llama", "mistral", "qwen3", "smollm3", "gemma2"]


@pytest.mark.parametrize("theirs", ALIKE)
def test_an_adapter_loads_on_its_own_family_alone(theirs: str, tmp_path: Path) -> None:
    """Where a model is loaded without a training command: infer, analyse, the lab."""
    folder = adapter_of(whole(theirs), tmp_path / "adapter", manifest=True)
    check_loaded(whole(theirs), folder)
    for ours in (kind for kind in ALIKE if kind != theirs):
        with pytest.raises(CheckpointError, match="was trained on another base model than this one"):
            check_loaded(whole(ours), folder)


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("theirs", ALIKE)
def test_a_command_names_the_family_that_an_adapter_was_trained_on(
    theirs: str, manifest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a plain LoRA the folder of its base tells, where it is still there."""
    base = tmp_path / "base"
    whole(theirs).config.save_pretrained(base)  # type: ignore[operator, union-attr]
    folder = adapter_of(whole(theirs), tmp_path / "adapter", manifest=manifest)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(base)}))
    given = SimpleNamespace(adapter_name_or_path=[str(folder)], adapter_folder=None, model_name_or_path="m")
    for ours in ALIKE:
        monkeypatch.setattr(skeleton, "config_of", lambda _, ours=ours: whole(ours).config)
        found = named.strange_adapters(given, SimpleNamespace(finetuning_type="citi" if manifest else "lora"))
        assert len(found) == (ours != theirs)
        if found:
            assert f"was trained on a {theirs}, and model_name_or_path=m is a {ours}; name its own base" in found[0]


@pytest.mark.parametrize("name", ["none", "", "/", "a\0b", None, 3])
def test_of_a_plain_adapter_without_its_base_nothing_is_said(name: Any, tmp_path: Path) -> None:
    folder = adapter_of(whole("llama"), tmp_path / "adapter", manifest=False)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": name}))
    assert named._family_trained_on(folder) is None
    check_loaded(whole("qwen3"), folder)
