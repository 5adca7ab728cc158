"""Lua handlers: runtime, sandbox, limits, values and modules."""
