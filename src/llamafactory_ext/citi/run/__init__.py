"""A run of CITI: its folder, inputs, phases, trainer and outputs."""
