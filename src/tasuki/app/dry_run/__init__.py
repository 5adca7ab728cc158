"""Dry run: a handler is called with a copy of a message in its own process, and its effects are recorded."""
