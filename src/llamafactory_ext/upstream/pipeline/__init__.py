"""What methods call of LLaMA-Factory: data, templates, models."""
