"""Row rl: a step of `stage: tl_ppo` in an environment against trl's GRPOTrainer with tools, on the embedded model.

Both play the same tasks (each four times) in the same world: a tool is called, its output is read, up to four turns.
A random model calls no tools, so both sides' model is led: what the embedded model computes is scaled down, and behind
each token of a turn the next one of a fixed text becomes almost certain. Passes, caches, gradients and updates stay
what they are. Groups, no critic and no reference on both sides; trl asks for its chat template of Qwen2.5, which
both write. Times are per episode; trl runs environments since 1.0 (`pip install 'trl>=1' jmespath`).
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from llamafactory.hparams import TrainingArguments
from measure import Figure, Row, time_ratio, times
from ppo import LABELS, Steps, step_of
from setting import Setting
from torch import Tensor, nn

from llamafactory_ext.lab.evaluate import load
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.tl.environments import Action, Step
from llamafactory_ext.tl.ppo.acting import Acting
from llamafactory_ext.tl.ppo.critic import ActorCritic
from llamafactory_ext.tl.ppo.rewards import tool_reward
from llamafactory_ext.tl.ppo.rollout.episodes import Limits
from llamafactory_ext.tl.ppo.rollout.local import Sampling
from llamafactory_ext.tl.ppo.settings import PpoSettings
from llamafactory_ext.tl.ppo.tasks import Task
from llamafactory_ext.tl.ppo.trainer import PpoTrainer
from llamafactory_ext.tl.ppo.verl_loop import Between
from llamafactory_ext.toolcalls import read_tool

PROMPTS, EACH, PARTS, TURNS = 4, 4, 2, 4
WORDS, TOKENS = 24, 512
START, END = "<|im_start|>", "<|im_end|>"
CALL = '<tool_call>\n{"name": "look", "arguments": {"key": "a"}}\n</tool_call>'
OUTPUT = "The value behind this key is 42, and the next key is a."
LEAD, OWN = 40.0, 0.05  # how certain a led token is; what is left of the model's own states
BEFORE = f"\n{START}user\n<tool_response>\n"
AFTER = f"\n</tool_response>{END}\n{START}assistant\n"


class World:
    """Ours: one output for each call, and a reward for the answer."""

    def reset(self, record: Any) -> None:
        """Begin."""

    def step(self, action: Action) -> Step:
        """Answer the calls of a turn."""
        return Step([OUTPUT for _ in action.calls], reward=float(action.end == "answer"))


class TheirWorld:
    """The same for trl: its methods are the tools."""

    def reset(self, **_: Any) -> None:
        """Begin."""

    def look(self, key: str) -> str:
        """Look up a key.

        Args:
            key: The key.
        """
        return OUTPUT


def run(setting: Setting) -> list[Row]:
    """Episodes of four turns each, then those that end by themselves."""
    prompts = 1 if setting.shape.hidden < 64 else PROMPTS
    row = Row("rl", "tl_ppo step in an environment / trl's GRPOTrainer with tools, per token of the policy")
    row.settings = {
        "model": "the embedded one, 1.3 M parameters, float32, led",
        "trl": version("trl"),
        "episodes": prompts * EACH,
        "micro_batches": PARTS,
        "turns": TURNS,
        "tokens_of_a_turn": WORDS + 2,
    }
    for ends in (False, True):
        found = _measure(prompts, ends, setting.device, setting.rounds)
        name = "episodes end by themselves" if ends else f"all episodes of {TURNS} turns"
        for what, label in LABELS.items():
            both = {side: steps.per_token(getattr(steps, what)) for side, steps in found.items()}
            goal = 0.9 if what in ("wall", "rollout") else None
            row.figures.append(time_ratio(f"{name}: {label} / GRPOTrainer", "tl_ppo", "GRPOTrainer", both, goal))
        for side, steps in found.items():
            speed = [prompts * EACH / took for took in steps.rollout][1:]
            row.figures.append(Figure(f"{name}: {side}", statistics.median(speed), unit="episodes/s"))
            row.settings[f"{side}, {name}"] = {
                "tokens_per_step": round(statistics.mean(steps.tokens[1:])),
                "seconds_per_step": round(statistics.median(steps.wall[1:]), 3),
            }
    return [row]


def _measure(prompts: int, ends: bool, device: torch.device, rounds: int) -> dict[str, Steps]:
    """Steps of both trainers in turn."""
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": str(Path(folder)),
            "per_device_train_batch_size": prompts * EACH // PARTS,
            "gradient_accumulation_steps": PARTS,
            "learning_rate": 1e-6,  # the policy should stay what it is
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": device.type == "cpu",
            "report_to": "none",
            "seed": 0,
        }
        theirs = _theirs(prompts, ends, common)
        made = {
            "tl_ppo": (_ours(theirs, prompts, ends, common), "answers"),
            "GRPOTrainer": (theirs, "_generate"),
        }
    calls, found = {}, {}
    for name, (trainer, rollout) in made.items():
        calls[name], found[name] = step_of(trainer, rollout, _tokens)
    times(calls, rounds=rounds, device=device)
    return found


def _led(ends: bool) -> tuple[Any, Any]:
    """Return the embedded model, led to call its tool, and its tokenizer."""
    from tokenizers import AddedToken
    from trl import chat_template_utils

    model, tokenizer = load(SHIPPED_MODEL)
    words = [f"<w{number}>" for number in range(WORDS)]
    tokenizer.add_special_tokens({"eos_token": END, "additional_special_tokens": [START]})
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in (*words, CALL)])
    folder = Path(chat_template_utils.__file__).parent / "chat_templates"
    tokenizer.chat_template = (folder / "qwen2_5.jinja").read_text("utf-8")
    torch.manual_seed(0)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    first = tokenizer.encode(f"{START}assistant\n", add_special_tokens=False)[-1]
    chain = [first, *tokenizer.convert_tokens_to_ids([*words, CALL, END])]
    head = model.get_output_embeddings()
    width = head.weight.shape[1]
    with torch.no_grad():
        marks_NH = nn.functional.normalize(torch.randn(len(chain), width), dim=1) * head.weight.norm(dim=1).mean()
        head.weight[torch.tensor(chain[1:])] = marks_NH[1:]
        lead_VH = torch.zeros(head.weight.shape)
        scale = LEAD / head.weight.norm(dim=1).mean() ** 2
        for place, token in enumerate(chain[:-1]):
            lead_VH[token] = marks_NH[place + 1] * scale
        if ends:  # the last word is followed by a call, or as often by the end
            lead_VH[chain[-3]] = (marks_NH[-2] + marks_NH[-1]) * scale

    def lead(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any], output: Any) -> Any:
        ids_BT: Tensor = given["input_ids"] if "input_ids" in given else args[0]
        output.last_hidden_state = output.last_hidden_state * OWN + lead_VH[ids_BT]
        return output

    model.model.register_forward_hook(lead, with_kwargs=True)
    return model, tokenizer


def _asked(prompts: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"What is the value of key {number}?"}] for number in range(prompts)]


def _ours(theirs: Any, prompts: int, ends: bool, common: dict[str, Any]) -> Any:
    policy, tokenizer = _led(ends)
    tools = list(theirs._env_tools[None])
    queries = []
    for place, messages in enumerate(_asked(prompts)):
        text = tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=theirs.chat_template, add_generation_prompt=True, tokenize=False
        )
        ids = tuple(tokenizer.encode(text, add_special_tokens=False))
        parameters = {"type": "object", "properties": {"key": {"type": "string"}}}
        shown = {"type": "function", "function": {"name": "look", "description": "", "parameters": parameters}}
        queries.append(Task(ids, "", (read_tool(shown, "openai"),), f"task {place}", "qwen", {"id": place}))
    end = (tokenizer.eos_token_id,)
    limits = Limits(turns=TURNS, tokens=TOKENS, observation=TOKENS, seconds=30.0, fault_reward=-1.0, skip_bad=False)
    return PpoTrainer(
        model=ActorCritic(policy, own_critic=None, temperature=1.0),
        queries=queries,
        held_out=None,
        reward=tool_reward("paper", None),
        reference=None,
        settings=PpoSettings(
            epochs=1,
            minibatches=1,
            clip=0.2,
            value_clip=None,
            value_coef=0.1,
            gamma=1.0,
            lam=1.0,
            whiten=False,
            kl_coef=0.0,
            kl_estimator="k3",
            kl_target=None,
            kl_horizon=10_000,
            kl_limit=100.0,
            reward_clip=None,
            critic_lr=None,
            show=0,
            advantage="group",
            group=EACH,
        ),
        sampling=Sampling(max_tokens=TOKENS, end_ids=frozenset(end), pad_id=tokenizer.pad_token_id),
        server=None,
        acting=Acting(World, limits, Between(tokenizer, BEFORE, AFTER, end)),
        say=lambda _: None,
        args=TrainingArguments(**common),
        processing_class=tokenizer,
    )


def _theirs(prompts: int, ends: bool, common: dict[str, Any]) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = _led(ends)

    def reward(completions: Sequence[Any], **_: Any) -> list[float]:
        return [float(not one[-1].get("tool_calls")) for one in completions]

    return GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=GRPOConfig(
            **common,
            num_generations=EACH,
            max_completion_length=TOKENS,
            max_tool_calling_iterations=TURNS - 1,
            beta=0.0,
        ),
        train_dataset=Dataset.from_list([{"prompt": messages} for messages in _asked(prompts)]),
        processing_class=tokenizer,
        environment_factory=TheirWorld,
    )


def _tokens(drawn: Any) -> int:
    """Count the policy's tokens; outputs of tools are none of them."""
    own = drawn[2] if isinstance(drawn, tuple) else [one.drawn or (1,) * len(one.ids) for one in drawn.responses]
    return sum(sum(mask) for mask in own)
