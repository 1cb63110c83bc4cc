"""API-Bank (arXiv:2304.08244): its scores, and the execution of calls by its own classes."""
