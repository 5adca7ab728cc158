"""Dry run: a handler is called with a copy of a message in a process of its own, and its effects are recorded."""
