"""Lua handlers: runtime, sandbox, limits, values and modules."""

from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.limits import LuaLimits
from tasuki.handlers.lua.source import LuaLibrary, LuaSource

__all__ = ["LuaHandler", "LuaLibrary", "LuaLimits", "LuaSource"]
