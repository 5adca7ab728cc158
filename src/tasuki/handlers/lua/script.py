"""LuaScript: the parts of one function's runtime as plain data, for its thread or process."""

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
