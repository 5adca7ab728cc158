"""Calls of shared tasks: one, several, at once; and the worker's side of them."""
