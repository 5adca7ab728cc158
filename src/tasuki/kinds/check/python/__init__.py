"""The signatures of Python functions that are declared in code: whether each parameter can be filled."""
