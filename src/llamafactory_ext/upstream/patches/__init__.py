"""What calls methods from LLaMA-Factory: the table of patches and their wrappers."""
