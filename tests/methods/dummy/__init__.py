"""A fine-tuning type and a benchmark that do nothing: what a further one of each needs, and no more."""
