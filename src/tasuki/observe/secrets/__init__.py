"""Which parts of values and texts are secrets."""
