"""The names of TL-Training's stages, as their rows in methods.py have them."""

from typing import Final

SFT_STAGE: Final = "tl_sft"
PPO_STAGE: Final = "tl_ppo"
