"""Checks the signatures of Python functions that are declared in code: each parameter can be filled."""
