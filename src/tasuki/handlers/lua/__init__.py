"""Lua handlers: runtime, sandbox, limits, values and modules."""

from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.script import LuaLibrary, LuaLimits, LuaSource

__all__ = ["LuaHandler", "LuaLibrary", "LuaLimits", "LuaSource"]
