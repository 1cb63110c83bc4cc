"""SKIntern: knowledge in the prompt is taken away step by step while a model is tuned (arXiv:2409.13183)."""
