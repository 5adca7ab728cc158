"""Hostile Lua as data, a runner that gives each attempt its own process, and the table made of what happened."""
