"""Large files: read in parts, written atomically, drawn from without loading them."""
