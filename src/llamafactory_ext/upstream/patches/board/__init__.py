"""LLaMA Board's patches: its page, its runner, its data tab, its log."""
