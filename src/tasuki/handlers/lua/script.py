"""LuaScript: all that a runtime of one function is made of, as plain data, for whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasuki.handlers.lua.limits import LuaLimits
from tasuki.handlers.lua.source import LuaLibrary, LuaSource


@dataclass(frozen=True, slots=True)
class LuaScript:
    """See LuaHandler for the fields."""

    id: str
    source: LuaSource
    method: str | None = None
    modules: Sequence[str] = ()
    imports: Mapping[str, LuaLibrary] = field(default_factory=dict)
    limits: LuaLimits = field(default_factory=LuaLimits)
