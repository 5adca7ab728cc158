"""What outsiders implement: types and docstrings, no logic."""
