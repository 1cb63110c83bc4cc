"""The exported types in vLLM, and what is checked before its workers start."""
