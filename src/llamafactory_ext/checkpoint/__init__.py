"""Saving that never leaves half a file, exact resumption, and the proof that an adapter belongs to a base model."""
