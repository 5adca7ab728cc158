"""Modules that call functions and run coroutines."""
