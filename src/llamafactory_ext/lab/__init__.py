"""The lab: a synthetic world, a tiny language model trained on it, and the demo that compares methods on both."""
