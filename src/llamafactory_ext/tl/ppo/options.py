"""The options of `stage: tl_ppo`: declaration, defaults, and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ...options.values import Number, Rule, rules_of


@dataclass
class TlPpoArguments:
    """Options of TL-Training's reinforcement learning (arXiv:2412.15495, section 3.3)."""

    tl_reward_variant: Literal["paper", "reference"] = field(
        default="paper",
        metadata={"help": "TL: the reward of section 3.3 on parsed calls, or that of the released code."},
    )
    tl_reward_function: str | None = field(
        default=None,
        metadata={
            "help": "TL: your own reward as module:function; it gets (prediction, reference, tools) and returns a "
            "number, or a number and its parts."
        },
    )
    tl_reward_clip: float = field(
        default=5.0, metadata={"help": "TL: rewards are cut to this size in either direction; 0 leaves them."}
    )
    tl_turns: Literal["all", "last"] = field(
        default="all",
        metadata={"help": "TL: a prompt for every call of a trajectory, or for its last one only."},
    )
    tl_temperature: float = field(
        default=1.0, metadata={"help": "TL: temperature of the responses; 0 draws them greedily."}
    )
    tl_top_p: float = field(
        default=1.0,
        metadata={
            "help": "TL: probability that tokens are drawn from. Log-probabilities and KL stay those of all tokens, "
            "so below 1 the update is biased."
        },
    )
    tl_top_k: int = field(
        default=0,
        metadata={
            "help": "TL: number of tokens drawn from; 0 is all. Log-probabilities and KL stay those of all tokens, so "
            "a limit biases the update."
        },
    )
    tl_max_new_tokens: int = field(default=256, metadata={"help": "TL: longest response in tokens."})
    tl_stop: str | None = field(
        default=None,
        metadata={"help": "TL: text that ends a response, beside the template's end tokens; || separates several."},
    )
    tl_rollout: Literal["hf", "vllm"] = field(
        default="hf",
        metadata={"help": "TL: responses from the model in training, or from a vLLM server that follows it."},
    )
    tl_rollout_url: str | None = field(
        default=None, metadata={"help": "TL: the server's OpenAI-compatible address, as http://host:8000/v1."}
    )
    tl_rollout_timeout: float = field(
        default=600.0, metadata={"help": "TL: seconds to wait for an answer of the server."}
    )
    tl_rollout_correction: float = field(
        default=2.0,
        metadata={
            "help": "TL: tokens from a server count by how much more probable they are in training than there, at "
            "most by this factor (truncated importance sampling); 0 counts all alike. At tl_temperature: 1 only."
        },
    )
    tl_rollout_batch_size: int = field(
        default=64, metadata={"help": "TL: prompts of similar length that are drawn from at once, per process."}
    )
    tl_cache: Literal["dynamic", "static"] = field(
        default="dynamic", metadata={"help": "TL: keys and values grow with the responses or have one size."}
    )
    tl_environment: str | None = field(
        default=None,
        metadata={
            "help": "TL: the policy acts over several turns in this environment, module:factory (docs/rl.md); its "
            "rewards take the place of tl_reward_variant."
        },
    )
    tl_environment_args: str | None = field(
        default=None, metadata={"help": "TL: arguments of tl_environment by name, as a JSON object."}
    )
    tl_environment_timeout: float = field(
        default=30.0, metadata={"help": "TL: seconds that an environment may take for one step."}
    )
    tl_fault_reward: float = field(
        default=-1.0, metadata={"help": "TL: reward of an episode whose environment fails or is too slow."}
    )
    tl_max_turns: int = field(default=8, metadata={"help": "TL: turns of the policy in an episode, at most."})
    tl_episode_tokens: int = field(
        default=2048,
        metadata={"help": "TL: tokens of an episode behind its prompt, observations included, at most."},
    )
    tl_observation_tokens: int = field(
        default=512, metadata={"help": "TL: tokens of one observation; the rest of a longer one is cut."}
    )
    tl_advantage: Literal["gae", "group", "rloo"] = field(
        default="gae",
        metadata={
            "help": "TL: what an action is compared with: the critic's values (PPO), the mean reward of a group of "
            "responses to the same prompt (GRPO), or that of the others in it (RLOO). The last two have no critic."
        },
    )
    tl_group_size: int = field(
        default=1,
        metadata={"help": "TL: responses drawn to each prompt; group and rloo need at least 2 (GRPO's paper: 64)."},
    )
    tl_group_scale: bool = field(
        default=True,
        metadata={"help": "TL: tl_advantage: group divides by the group's standard deviation; Dr. GRPO does not."},
    )
    tl_loss_mean: Literal["token", "response", "constant"] = field(
        default="token",
        metadata={
            "help": "TL: the policy's loss is a mean over all tokens (PPO, DAPO), over responses of the means of "
            "their tokens (GRPO), or a sum per response divided by the most tokens it may have (Dr. GRPO)."
        },
    )
    tl_ratio: Literal["token", "sequence"] = field(
        default="token",
        metadata={
            "help": "TL: probability ratio of each token, or one of the whole response, the geometric mean of its "
            "tokens' (GSPO, whose paper clips it at 0.0003 below and 0.0004 above)."
        },
    )
    tl_clip_high: float = field(
        default=0.0,
        metadata={"help": "TL: upper clip range of the ratio; 0 takes tl_clip for both ends (DAPO: 0.28)."},
    )
    tl_mask_cut: bool = field(
        default=False,
        metadata={"help": "TL: responses that tl_max_new_tokens cuts move the policy nowhere (DAPO's filter)."},
    )
    tl_kl_in: Literal["reward", "loss"] = field(
        default="reward",
        metadata={
            "help": "TL: the KL is a part of the reward (PPO, RLOO), or a term of the loss (GRPO, with "
            "tl_kl_estimator: k3)."
        },
    )
    tl_ppo_epochs: int = field(default=1, metadata={"help": "TL: passes over each batch of responses."})
    tl_minibatches: int = field(
        default=1,
        metadata={
            "help": "TL: updates per pass; a batch of responses is so many times per_device_train_batch_size x "
            "gradient_accumulation_steps x processes."
        },
    )
    tl_kl_coef: float = field(
        default=0.05, metadata={"help": "TL: weight of the KL to the reference in the reward (beta)."}
    )
    tl_kl_estimator: Literal["k1", "k2", "k3"] = field(
        default="k1",
        metadata={"help": "TL: KL per token from d = log policy - log reference: d, d^2/2, e^-d-1+d."},
    )
    tl_kl_target: float = field(
        default=0.0,
        metadata={"help": "TL: KL per response that tl_kl_coef adapts to; 0 leaves it fixed."},
    )
    tl_kl_horizon: int = field(default=10000, metadata={"help": "TL: responses in which tl_kl_coef adapts."})
    tl_kl_limit: float = field(default=10.0, metadata={"help": "TL: KL per response that is warned of."})
    tl_reference: Literal["start", "base"] = field(
        default="start",
        metadata={"help": "TL: the KL is measured from the model as training began, or without its adapter."},
    )
    tl_clip: float = field(default=0.2, metadata={"help": "TL: clip range of the probability ratio."})
    tl_value_clip: float = field(default=0.2, metadata={"help": "TL: clip range of the values; 0 leaves them."})
    tl_value_coef: float = field(default=0.1, metadata={"help": "TL: weight of the critic's loss."})
    tl_gamma: float = field(default=1.0, metadata={"help": "TL: discount per token."})
    tl_lambda: float = field(default=0.95, metadata={"help": "TL: lambda of the advantage estimate (GAE)."})
    tl_whiten: bool = field(
        default=True, metadata={"help": "TL: shift and scale advantages to mean 0 and variance 1 per batch."}
    )
    tl_critic: Literal["shared", "own"] = field(
        default="shared",
        metadata={"help": "TL: the value head reads the policy's last layer, or that of a copy of the model."},
    )
    tl_critic_lr: float = field(
        default=0.0, metadata={"help": "TL: learning rate of value head and copy; 0 takes learning_rate."}
    )
    tl_show_responses: int = field(
        default=0, metadata={"help": "TL: so many responses are printed with their rewards at each logging step."}
    )


RULES: Final[Mapping[str, Rule]] = rules_of(
    TlPpoArguments,
    tl_reward_clip=Number(0),
    tl_temperature=Number(0),
    tl_top_p=Number(0, 1, open_low=True),
    tl_top_k=Number(0, whole=True),
    tl_max_new_tokens=Number(1, whole=True),
    tl_rollout_timeout=Number(0, open_low=True),
    tl_rollout_batch_size=Number(1, whole=True),
    tl_rollout_correction=Number(0),
    tl_environment_timeout=Number(0, open_low=True),
    tl_fault_reward=Number(-math.inf),
    tl_max_turns=Number(1, whole=True),
    tl_episode_tokens=Number(1, whole=True),
    tl_observation_tokens=Number(1, whole=True),
    tl_group_size=Number(1, whole=True),
    tl_clip_high=Number(0),
    tl_ppo_epochs=Number(1, whole=True),
    tl_minibatches=Number(1, whole=True),
    tl_kl_coef=Number(0),
    tl_kl_target=Number(0),
    tl_kl_horizon=Number(1, whole=True),
    tl_kl_limit=Number(0, open_low=True),
    tl_clip=Number(0, 1, open_low=True, open_high=True),
    tl_value_clip=Number(0),
    tl_value_coef=Number(0),
    tl_gamma=Number(0, 1),
    tl_lambda=Number(0, 1),
    tl_critic_lr=Number(0),
    tl_show_responses=Number(0, whole=True),
)
