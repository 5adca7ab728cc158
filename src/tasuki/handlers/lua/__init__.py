"""Lua handlers: runtime, sandbox, limits, values and modules."""

from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.script import LuaLibrary, LuaSource, ScriptLimits

__all__ = ["LuaHandler", "LuaLibrary", "LuaSource", "ScriptLimits"]
