"""DATA (arXiv:2502.11482) as `finetuning_type: data`: tasks learnt one after the other on one adapter."""
