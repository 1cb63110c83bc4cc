"""Personalised, proactive tool use (ETAPP, arXiv:2503.00771): worlds, agents, checks without a judge, and a judge."""
