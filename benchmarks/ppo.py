"""Row ppo: an optimizer step of `stage: tl_ppo` against trl's GRPOTrainer, rollouts included, on the embedded model.

Both answer the same prompts (each four times), draw from the whole distribution, score the texts with the same
reward, look at a reference model and make one update in as many micro-batches. Ours trains a critic, whose values the
rollout gives along with the log-probabilities; GRPO needs neither before its update, and measures an entropy. Times
are per generated token.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from llamafactory.hparams import TrainingArguments
from measure import Figure, Row, time_ratio, times
from setting import Setting
from transformers import PreTrainedModel

from llamafactory_ext.lab import world
from llamafactory_ext.lab.evaluate import load
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.lab.tokenizer import encode_turn
from llamafactory_ext.tl.ppo.critic import ActorCritic
from llamafactory_ext.tl.ppo.queries import declared_tools
from llamafactory_ext.tl.ppo.reference import Reference
from llamafactory_ext.tl.ppo.rewards import Query, tool_reward
from llamafactory_ext.tl.ppo.rollout.local import Sampling
from llamafactory_ext.tl.ppo.settings import PpoSettings
from llamafactory_ext.tl.ppo.trainer import PpoTrainer

PROMPTS, EACH, PARTS, TOKENS = 4, 4, 2, 48
KL = 0.02
NO_TOKEN = -1
REWARD = tool_reward("paper", None)
LABELS = {"wall": "time", "cpu": "CPU time", "rollout": "rollout time", "rollout_cpu": "rollout CPU time"}


@dataclass(frozen=True)
class Case:
    """What a step does.

    Attributes:
        prompts: of which each is answered `EACH` times.
        tokens: the longest response.
        ends: whether responses end by themselves; if not, all of them have `tokens` tokens.
    """

    prompts: int
    tokens: int
    ends: bool


@dataclass
class Steps:
    """What one trainer's steps took, each list in the order of the steps; the first is the warm-up."""

    wall: list[float]
    cpu: list[float]
    rollout: list[float]
    rollout_cpu: list[float]
    tokens: list[int]

    def per_token(self, seconds: Sequence[float]) -> list[float]:
        """Seconds per generated token of each step but the first."""
        return [took / count for took, count in zip(seconds, self.tokens, strict=True)][1:]


def run(setting: Setting) -> list[Row]:
    """Responses of equal length on both sides, then those that end by themselves."""
    toy = setting.shape.hidden < 64
    sizes = {"prompts": 1, "tokens": 4} if toy else {"prompts": PROMPTS, "tokens": TOKENS}
    row = Row("ppo", "tl_ppo step with rollouts / trl's GRPOTrainer, per generated token")
    row.settings = {
        "model": "the embedded one, 1.3 M parameters, float32",
        "responses": sizes["prompts"] * EACH,
        "micro_batches": PARTS,
        "longest": sizes["tokens"],
    }
    for ends in (False, True):
        case = Case(**sizes, ends=ends)
        found = _measure(case, setting.device, setting.rounds)
        ours, theirs = found["tl_ppo"], found["GRPOTrainer"]
        name = "responses end by themselves" if ends else f"all responses of {case.tokens} tokens"
        for what, label in LABELS.items():
            both = {side: steps.per_token(getattr(steps, what)) for side, steps in found.items()}
            goal = 1.0 if what == "wall" else None
            row.figures.append(time_ratio(f"{name}: {label} / GRPOTrainer", "tl_ppo", "GRPOTrainer", both, goal))
        for side, steps in (("tl_ppo", ours), ("GRPOTrainer", theirs)):
            speed = [count / took for count, took in zip(steps.tokens, steps.rollout, strict=True)][1:]
            shares = [took / whole for took, whole in zip(steps.rollout, steps.wall, strict=True)][1:]
            row.figures += [
                Figure(f"{name}: {side} rollout", statistics.median(speed), unit="tokens/s"),
                Figure(f"{name}: {side} rollout's share of the step", statistics.median(shares), unit="of 1"),
            ]
            row.settings[f"{side}, {name}"] = {
                "tokens_per_step": round(statistics.mean(steps.tokens[1:])),
                "seconds_per_step": round(statistics.median(steps.wall[1:]), 3),
            }
    return [row]


def _measure(case: Case, device: torch.device, rounds: int) -> dict[str, Steps]:
    """Steps of both trainers in turn."""
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": str(Path(folder)),
            "per_device_train_batch_size": case.prompts * EACH // PARTS,
            "gradient_accumulation_steps": PARTS,
            "learning_rate": 1e-6,  # the policy should stay what it is
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": device.type == "cpu",
            "report_to": "none",
            "seed": 0,
        }
        made = {"tl_ppo": _ours(case, common), "GRPOTrainer": _theirs(case, common)}
    calls, found = {}, {}
    for name, (trainer, rollout) in made.items():
        calls[name], found[name] = step_of(trainer, rollout, drawn_tokens)
    times(calls, rounds=rounds, device=device)
    return found


def _queries(case: Case) -> list[Query]:
    _, tokenizer = load(SHIPPED_MODEL)
    return [
        Query(
            tuple(encode_turn(tokenizer, example.prompt)[0]),
            example.answer,
            declared_tools(None, [example.prompt]),
            f"request {place}",
        )
        for place, example in enumerate(world.tool_training(case.prompts, seed=2))
    ]


def _ours(case: Case, common: dict[str, Any]) -> tuple[Any, str]:
    policy, tokenizer = load(SHIPPED_MODEL)
    reference = Reference(policy, "start", fresh=False)
    trainer = PpoTrainer(
        model=ActorCritic(policy, own_critic=False, temperature=1.0),
        queries=[query for query in _queries(case) for _ in range(EACH)],
        held_out=None,
        reward=REWARD,
        reference=reference,
        settings=PpoSettings(
            epochs=1,
            minibatches=1,
            clip=0.2,
            value_clip=0.2,
            value_coef=0.1,
            gamma=1.0,
            lam=1.0,
            whiten=True,
            kl_coef=KL,
            kl_estimator="k3",
            kl_target=None,
            kl_horizon=10_000,
            kl_limit=100.0,
            reward_clip=5.0,
            critic_lr=None,
            show=0,
        ),
        sampling=Sampling(
            max_tokens=case.tokens,
            end_ids=frozenset({tokenizer.eos_token_id} if case.ends else ()),
            pad_id=tokenizer.pad_token_id,
        ),
        server=None,
        say=lambda _: None,
        args=TrainingArguments(**common),
        processing_class=tokenizer,
    )
    return trainer, "answer"


def _theirs(case: Case, common: dict[str, Any]) -> tuple[Any, str]:
    from trl import import_utils

    # trl 0.24 takes the pairs (is it there, version) that transformers 5 answers for "it is there".
    for name, value in list(vars(import_utils).items()):
        if isinstance(value, tuple) and name.endswith("_available"):
            setattr(import_utils, name, value[0])
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = load(SHIPPED_MODEL)
    queries = _queries(case)
    texts = [tokenizer.decode(query.ids) for query in queries]
    assert [tokenizer.encode(text, add_special_tokens=False) for text in texts] == [list(one.ids) for one in queries]
    unlimited: PreTrainedModel | Any = model
    unlimited.warnings_issued = {}  # gone in transformers 5, and trl 0.24 writes into it
    if not case.ends:
        unlimited.generation_config.eos_token_id = None

    def reward(completions: Sequence[str], place: Sequence[int], **_: Any) -> list[float]:
        pairs = [(text, queries[at]) for text, at in zip(completions, place, strict=True)]
        return [REWARD(text, query.reference, query.tools).total for text, query in pairs]

    trainer = GRPOTrainer(
        model=unlimited,
        reward_funcs=reward,
        args=GRPOConfig(
            **common,
            num_generations=EACH,
            max_prompt_length=None,
            max_completion_length=case.tokens,
            beta=KL,
            generation_kwargs=None if case.ends else {"eos_token_id": None},
        ),
        train_dataset=Dataset.from_list([{"prompt": text, "place": place} for place, text in enumerate(texts)]),
        processing_class=tokenizer,
    )
    if not case.ends:
        trainer.eos_token_id = NO_TOKEN  # it would cut there what was drawn
    return trainer, "_generate_single_turn"


def drawn_tokens(drawn: Any) -> int:
    """Count the tokens of the responses that either side drew."""
    ids = drawn[1] if isinstance(drawn, tuple) else [response.ids for response in drawn]
    return sum(map(len, ids))


def step_of(trainer: Any, rollout: str, count_tokens: Callable[[Any], int]) -> tuple[Callable[[], None], Steps]:
    """Return one optimizer step as transformers' loop makes it, and where its times and tokens will stand.

    Args:
        trainer: of either side.
        rollout: its method that draws the responses.
        count_tokens: counts the policy's tokens in what that method returns.
    """
    found = Steps([], [], [], [], [])
    draw = getattr(trainer, rollout)
    loader = trainer.get_train_dataloader()
    parameters = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    trainer.create_optimizer()

    def timed(*args: Any, **kwargs: Any) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        drawn = draw(*args, **kwargs)
        found.rollout.append(time.perf_counter() - start)
        found.rollout_cpu.append(time.process_time() - cpu)
        found.tokens.append(count_tokens(drawn))
        return drawn

    setattr(trainer, rollout, timed)

    def step() -> None:
        start, cpu = time.perf_counter(), time.process_time()
        batches, count = trainer.get_batch_samples(iter(loader), PARTS, trainer.args.device)
        trainer.current_gradient_accumulation_steps = len(batches)
        for batch in batches:
            trainer.training_step(trainer.model, batch, count)
        trainer.accelerator.clip_grad_norm_(parameters, trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        found.wall.append(time.perf_counter() - start)
        found.cpu.append(time.process_time() - cpu)

    return step, found
