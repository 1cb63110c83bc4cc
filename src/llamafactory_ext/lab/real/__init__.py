"""The table on a real instruct model: published data, six rows, settings by equal trials, one JSON per run."""
