"""The analyses of CITI's paper (arXiv:2409.13202, section 2 and appendices A.5, B, C) as commands.

Each takes a training YAML for the base model, template and data, and keeps every finished part, so that the same
command goes on after an interruption.
"""
