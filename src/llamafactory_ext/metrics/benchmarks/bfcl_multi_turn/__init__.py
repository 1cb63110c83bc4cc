"""BFCL's multi_turn files: trajectories over several turns, executed and compared by state and by responses."""
