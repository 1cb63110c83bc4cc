"""DATA's exported types in vLLM."""
