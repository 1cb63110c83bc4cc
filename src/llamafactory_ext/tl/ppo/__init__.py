"""`stage: tl_ppo`, PPO with the rule reward (TL-Training, arXiv:2412.15495, section 3.3)."""
