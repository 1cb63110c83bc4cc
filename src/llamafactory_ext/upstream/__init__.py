"""The only room that knows LLaMA-Factory from inside: our options, the table of patches, and their wrappers."""
