"""SharedLuaHandler: a script on the event loop, until it keeps others waiting (``isolation: shared`` without ``pool``).

In a thread a message costs four to six times what it costs here, so a quick script stays where its messages are. A step
that computes for longer than others can wait shows that this is no quick one: from then on one thread beside the loop
has all its messages. The message that has shown it begins again there, if it has asked for nothing yet; else it goes on
where it is, to its end.
"""

from __future__ import annotations

import logging

from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.host.runtime import PATIENCE
from tasuki.handlers.lua.remote.threaded import ThreadedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tasuki.units import format_duration

_log = logging.getLogger("tasuki.handlers.lua")


class SharedLuaHandler(LuaHandler):
    """As LuaHandler; see above."""

    def __init__(self, script: LuaScript) -> None:
        super().__init__(script)
        self._thread: ThreadedLuaHandler | None = None
        self.tired = self._move

    def _move(self) -> None:
        """Called in a step of the script: what it has under way ends in the runtime that it is in."""
        self.beside = self._thread = ThreadedLuaHandler(self._script, threads=1)
        self._runtime = None
        _log.info(
            "%s: a step of the script computed for more than %s; from now on it runs in a thread beside the event loop"
            " (pool: {workers: 1} starts it there)",
            self.id,
            format_duration(2 * PATIENCE),
        )

    async def start(self) -> None:
        """As ``LuaHandler.start``."""
        await (super().start() if self._thread is None else self._thread.start())

    async def stop(self) -> None:
        """Free the runtime, and let the thread end."""
        await super().stop()
        if self._thread is not None:
            await self._thread.stop()
