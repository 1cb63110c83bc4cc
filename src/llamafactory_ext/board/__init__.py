"""LLaMA Board panels: our options, the progress of a run, and what a data set holds."""
