"""What is wrong with a data set, before a run."""
