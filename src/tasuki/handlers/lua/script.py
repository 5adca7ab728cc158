"""LuaScript: the parts of one function's runtime as plain data, for its thread or process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasuki.handlers.lua.limits import LuaLimits
from tasuki.handlers.lua.source import LuaLibrary, LuaSource


@dataclass(frozen=True, slots=True)
class LuaScript:
    """A script, and what it may use."""

    id: str
    """The entry's id."""
    source: LuaSource
    """Its chunk returns a function, or a table of functions."""
    method: str | None = None
    """Which function of the table; None: its only one, else ``main``, ``handler`` or ``handle``."""
    modules: Sequence[str] = ()
    """Names that ``require`` finds, and that are globals."""
    imports: Mapping[str, LuaLibrary] = field(default_factory=dict)
    """Libraries that ``require`` finds, by alias."""
    limits: LuaLimits = field(default_factory=LuaLimits)
