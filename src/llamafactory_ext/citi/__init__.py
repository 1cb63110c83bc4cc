"""CITI: component importance-based tool-utilizing ability injection (arXiv:2409.13202)."""
