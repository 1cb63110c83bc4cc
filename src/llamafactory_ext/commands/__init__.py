"""What `llamafactory-ext VERB` runs; the top floor, which nobody imports."""
