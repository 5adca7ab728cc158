"""Busy: how long an invocation has kept its thread's processor, in Lua and in what Python does for it without waiting.

The hook in Lua sees only instructions. A script that asks Python again and again for work that does not wait would
never spend its time there; so what Python measures is told to the runtime now and then, and the hook ends the script.
"""

from __future__ import annotations

from time import thread_time

from tasuki.handlers.lua.runtime import Runtime

_TELL = 0.005
"""Seconds of work between two reports: rare enough to cost nothing."""


class Busy:
    """A stop watch; it runs from its making on."""

    __slots__ = ("_since", "_told", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._told = 0.0
        self._since = thread_time()

    def pause(self) -> None:
        """The invocation waits from now on."""
        self.seconds += thread_time() - self._since

    def go_on(self) -> None:
        """The wait is over."""
        self._since = thread_time()

    def tell(self, runtime: Runtime, id: int) -> None:
        """Report to an invocation that is between two steps, if there is something new."""
        now = thread_time()
        self.seconds += now - self._since
        self._since = now
        if self.seconds - self._told > _TELL:
            self._told = self.seconds
            runtime.spend(id, self.seconds)
