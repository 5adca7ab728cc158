"""What a script may use before it is ended."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.units import format_duration, format_size


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
