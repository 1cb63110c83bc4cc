"""Data sets: converters of the public ones, checks, and the tool/general mark that every example carries."""
