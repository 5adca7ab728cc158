"""LuaScript: the script of one function, its libraries and limits as plain data, for its thread or process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasuki.units import format_duration, format_size


@dataclass(frozen=True, slots=True)
class LuaSource:
    """Lua text; ``chunk_name`` is what errors show as its file, such as ``task_handler.lua``."""

    text: str
    chunk_name: str


@dataclass(frozen=True, slots=True)
class LuaLibrary:
    """A ``library.lua`` entry: run once per runtime; what its chunk returns is what ``require(alias)`` gives."""

    id: str
    source: LuaSource
    modules: Sequence[str] = ()
    imports: Mapping[str, LuaLibrary] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LuaLimits:
    """Limits of one Lua function: ``memory`` bytes of its runtime, ``time`` seconds and ``instructions`` of one call.

    Time is the processor time of the process while the script runs, with all that it calls: waiting for a publish, a
    store or a sleep does not count, busy threads beside it do (with a pool of threads, only in the first 50 ms of a
    step). What a body takes on its way into Lua counts for both. Time is looked at every few thousand instructions,
    sooner where they work on large texts, so a script overruns it by a fraction of a second.
    """

    memory: int = 64 * 1024 * 1024
    time: float = 1.0
    instructions: int | None = None

    def describe(self, limit: str) -> str:
        """The sentence for an error: which limit was spent, and how large it is."""
        if limit == "memory":
            return f"the script needs more than its {format_size(self.memory)} of memory"
        if limit == "time":
            return f"the script ran longer than its {format_duration(self.time)}"
        return f"the script ran more than its {self.instructions} instructions"


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
