"""One table: what becomes of every option of LLaMA-Factory and transformers with each of our methods."""
