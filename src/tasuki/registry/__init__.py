"""Entries: read from YAML or declared in code, with the place of every key, and compared between versions."""
