"""Drops the type syntax of a typed Lua source, so that Lua 5.4 compiles it: lines and columns stay where they were."""

from tasuki.handlers.lua.types.strip import strip

__all__ = ["strip"]
