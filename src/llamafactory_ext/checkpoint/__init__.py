"""Saving that never leaves half a file, and the proof that an adapter belongs to a base model."""
