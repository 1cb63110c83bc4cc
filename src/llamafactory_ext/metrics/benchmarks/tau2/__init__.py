"""tau2-bench (arXiv:2506.07982): its results files, rewards and pass^k."""
