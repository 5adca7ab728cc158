"""Health: whether messages move, and where a probe can read it."""
