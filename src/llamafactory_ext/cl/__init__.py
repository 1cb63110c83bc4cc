"""Continual learning: tasks one after the other with any method, every task measured after each, side by side."""
