"""The only room that knows LLaMA-Factory from inside: what methods call of it, and the patches that call methods."""
