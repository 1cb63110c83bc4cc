"""`stage: tl_sft`, supervised training with MAE and PKT (TL-Training, arXiv:2412.15495, sections 3.1 and 3.2)."""
