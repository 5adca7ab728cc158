"""Checks across entries, after each entry is valid by itself."""
