"""Converters of the public data sets."""
