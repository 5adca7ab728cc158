"""Hostile Lua as data, a runner that gives each attempt a process of its own, and the table made of what happened."""
