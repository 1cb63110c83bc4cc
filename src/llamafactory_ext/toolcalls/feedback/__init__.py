"""Which error a tool's output reports, if any."""
