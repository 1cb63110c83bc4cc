"""An environment that `tl export-verl` wrote, played with stand-ins of verl's server, configuration and output.

They have the fields of verl 0.9.1's `verl.experimental.agent_loop.agent_loop` and of its `TokenOutput`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from datasets import load_dataset
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import DataArguments
from omegaconf import OmegaConf
from pydantic import BaseModel

import environments_made_here as made
import tiny
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.ppo import verl_files
from llamafactory_ext.tl.ppo.verl_export import Exported, export_verl
from llamafactory_ext.upstream.pipeline.continuing import Continuing
from llamafactory_ext.upstream.pipeline.fitting import fit_template
from ppo_runs import ppo_options, ppo_records, write_ppo_data
from processes import write_yaml

pytestmark = pytest.mark.fast
WORLD = {"tl_environment": "environments_made_here:counting", "tl_reward_function": None}
TOLD = ("llama3", "qwen", "qwen3", "qwen3_nothink", "glm4", "mistral", "gemma", "phi4")


class AgentLoopMetrics(BaseModel):
    generate_sequences: float = 0.0
    tool_calls: float = 0.0
    compute_score: float = 0.0
    num_preempted: int = -1


class AgentLoopOutput(BaseModel):
    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    response_logprobs: list[float] | None = None
    reward_score: float | None = None
    num_turns: int = 0
    metrics: AgentLoopMetrics
    extra_fields: dict[str, Any] = {}


class Server:
    """Draws the turns of a script; takes entries out of the parameters, as verl's servers do."""

    def __init__(self, turns: Sequence[Sequence[int]]) -> None:
        self.turns, self.asked = [list(turn) for turn in turns], list[tuple[str, list[int], int]]()

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        most = sampling_params.pop("max_tokens")
        self.asked.append((request_id, list(prompt_ids), most))
        await asyncio.sleep(0)
        ids = self.turns[len(self.asked) - 1][:most]
        return SimpleNamespace(token_ids=ids, log_probs=[-float(token) for token in ids])


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("verl_world")
    ours = [{"id": f"r-{place}", **record} for place, record in enumerate(ppo_records(3))]
    data = write_ppo_data(folder / "data", ppo=ours)
    return ppo_options(tiny_llama_dir, data, folder / "out", **WORLD)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> Exported:
    folder = tmp_path_factory.mktemp("exported_world")
    return export_verl(write_yaml(folder / "ppo.yaml", options), folder / "out")


@pytest.fixture(autouse=True)
def verl(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "verl.experimental.agent_loop.agent_loop"
    module = ModuleType(name)
    module.AgentLoopMetrics, module.AgentLoopOutput = AgentLoopMetrics, AgentLoopOutput  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


def rows(exported: Exported, folder: Path) -> list[dict[str, Any]]:
    found: Any = load_dataset("parquet", data_files=str(exported.files[0]), cache_dir=str(folder))["train"]
    return list(found)


def play(
    exported: Exported,
    row: Mapping[str, Any],
    server: Server,
    *,
    response: int = 500,
    prompt: int = 2000,
    **changes: Any,
) -> Any:
    """What verl's worker does for one row: the loop that the file names, made as Hydra makes it, and its run."""
    loops = {loop.name: loop for loop in OmegaConf.load(exported.files[-1])}
    named = {key: value for key, value in loops[row["agent_name"]].items() if key != "_target_"} | changes
    module, _, name = loops[row["agent_name"]]["_target_"].rpartition(".")
    rollout = SimpleNamespace(prompt_length=prompt, response_length=response)
    config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout), data={})
    loop = getattr(importlib.import_module(module), name)(
        **named,
        trainer_config=SimpleNamespace(config=config),
        server_manager=server,
        tokenizer=tiny.tiny_tokenizer(),
        processor=None,
        hf_model_type="llama",
        dataset_cls=None,
        data_config=SimpleNamespace(config={}),
        tools=None,
    )
    given = {name: row[name] for name in ("extra_info", "data_source", "reward_model")}
    return asyncio.run(loop.run({"temperature": 1.0, "logprobs": True}, raw_prompt=row["prompt"], **given))


def turns(*texts: str, end: str = "<|eot_id|>") -> list[list[int]]:
    words = tiny.tiny_tokenizer()
    return [words.encode(f"{text}{end}", add_special_tokens=False) for text in texts]


def test_the_rows_name_the_loop_and_hold_the_record(exported: Exported, tmp_path: Path) -> None:
    assert [file.name for file in exported.files] == ["train.parquet", "agent_loop.yaml"]
    first, *_, last = rows(exported, tmp_path)
    assert first["agent_name"] == "tl_environment"
    assert last["extra_info"]["index"] == 2
    record = json.loads(first["extra_info"]["record"])
    assert record["id"] == "r-0"
    assert [turn["role"] for turn in record["turns"]] == ["user", "assistant"]
    text = tiny.tiny_tokenizer().decode(first["extra_info"]["prompt_ids"])
    assert first["prompt"][0]["content"] in text


def test_an_episode_is_that_of_the_stage(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls and an answer: tokens as drawn, observations as the template writes them, the environment's reward."""
    made.calls_by_length(monkeypatch)
    row = rows(exported, tmp_path)[0]
    said = ["ae", "io", "u"]
    server = Server(turns(*said))
    found = play(exported, row, server)
    words = tiny.tiny_tokenizer()
    template = fit_template({"tokenizer": words, "processor": None}, DataArguments(template="llama3"))
    between = Continuing(template, words)
    first, second, third = server.turns
    seen = [between.ids(first, "output 1"), between.ids(second, "output 2output 2")]
    assert found.prompt_ids == row["extra_info"]["prompt_ids"]
    assert found.response_ids == [*first, *seen[0], *second, *seen[1], *third]
    parts = [(first, 1), (seen[0], 0), (second, 1), (seen[1], 0), (third, 1)]
    assert found.response_mask == [own for ids, own in parts for _ in ids]
    assert found.response_logprobs == [-float(token) * own for ids, own in parts for token in ids]
    assert found.reward_score == pytest.approx(sum(len(text) / 4 - len(text) / 40 for text in said))
    assert found.num_turns == 6
    assert found.extra_fields["reward_extra_info"] == {"success": 1, "turns": 3, "failed": 0}
    assert len({request for request, _, _ in server.asked}) == 1  # one server keeps the prefix
    assert [prompt[len(found.prompt_ids) :] for _, prompt, _ in server.asked] == [
        [],
        [*first, *seen[0]],
        [*first, *seen[0], *second, *seen[1]],
    ]


def test_limits_are_those_of_the_yaml_and_of_verl(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.calls_by_length(monkeypatch)
    row = rows(exported, tmp_path)[0]
    cut = play(exported, row, Server(turns("a" * 40, end="")))
    assert (len(cut.response_ids), sum(cut.response_mask)) == (6, 6)  # tl_max_new_tokens
    short = play(exported, row, server := Server(turns("ae", "io", "u")), response=8)
    assert len(short.response_ids) <= 8
    assert all(most <= 8 for _, _, most in server.asked)
    with pytest.raises(OptionError, match=r"data\.max_prompt_length is 3"):
        play(exported, row, Server(turns("a")), prompt=3)


def test_failing_environments_are_rewards_or_end_the_run(exported: Exported, tmp_path: Path) -> None:
    row = rows(exported, tmp_path)[0]
    failed = play(exported, row, Server(turns("a")), environment="environments_made_here:crash")
    assert failed.reward_score == -1
    facts = failed.extra_fields["reward_extra_info"]
    assert (facts["failed"], math.isnan(facts["success"])) == (1, True)
    with pytest.raises(DataError, match="breaks its protocol"):
        play(exported, row, Server(turns("a")), environment="environments_made_here:no_number")


@pytest.mark.parametrize("name", TOLD)
def test_marks_around_outputs_stand_in_the_file(name: str) -> None:
    words = tiny.tiny_tokenizer()
    marks = [word for word in TEMPLATES[name].stop_words if isinstance(word, str)]
    words.add_special_tokens({"additional_special_tokens": marks}, replace_extra_special_tokens=False)
    template = fit_template({"tokenizer": words, "processor": None}, DataArguments(template=name))
    before, after, end_ids = verl_files._marks(template, words)
    between = Continuing(template, words)
    text = 'an output\n{"a": 1}'
    assert verl_files.Between(words, before, after, end_ids).ids(end_ids[:1], text) == between.ids(end_ids[:1], text)


def test_what_cannot_be_told_to_verl_is_refused(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml = write_yaml(tmp_path / "cut.yaml", options | {"tl_mask_cut": True})
    with pytest.raises(OptionError, match="tl_mask_cut"):
        export_verl(yaml, tmp_path / "out")

    class Shouting(Continuing):
        def ids(self, turn: Sequence[int], observation: str) -> list[int]:
            return super().ids(turn, observation.upper())

    monkeypatch.setattr(verl_files, "Continuing", Shouting)
    with pytest.raises(OptionError, match="cannot be told to verl"):
        export_verl(write_yaml(tmp_path / "world.yaml", options), tmp_path / "out")
    assert not (tmp_path / "out").exists()
