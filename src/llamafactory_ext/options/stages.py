"""The training stages that are ours."""

from typing import Final

SFT_STAGE: Final = "tl_sft"
PPO_STAGE: Final = "tl_ppo"
STAGES: Final = (SFT_STAGE, PPO_STAGE)
