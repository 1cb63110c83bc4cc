"""Dialogues in which calls are executed by a tool server."""
