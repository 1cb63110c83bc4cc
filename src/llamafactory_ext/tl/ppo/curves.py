"""The figures that PPO logs beside its loss: rewards, what episodes achieve, how long they are."""

from __future__ import annotations

from typing import Final

from ...training.curves import GENERAL, LOSS, TOOL, Axis, Curve

CURVES: Final = (
    Axis("reward", (Curve("reward", "reward", LOSS, column="reward"),)),
    Axis("success", (Curve("success", "success", TOOL, column="success"),), share=True),
    Axis("turns", (Curve("turns", "turns", GENERAL, column="turns"),)),
    Axis(
        "tokens",
        (
            Curve("response_tokens", "the policy's", TOOL, column="response_tokens"),
            Curve("episode_tokens", "of episodes", GENERAL, column="episode_tokens"),
        ),
    ),
)
