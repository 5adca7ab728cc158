"""Child: one process of ``run --processes``, which ends in a bounded time: by itself, by KILL, or left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal

_log = logging.getLogger("tasuki.processes")

GONE = 5.0
"""Seconds after KILL in which the system removes a process, unless the kernel waits for a disk."""


class Child:
    """A process that has started; ``number`` is its number in the fleet. Belongs to the running loop."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self._number = number
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_killed = False
        self._left: asyncio.Future[int] = self._loop.create_future()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        # Not by asyncio's own send_signal: before Python 3.14 it polls first, and that takes the exit code of a process
        # that has just ended from the one that waits for it (`ended` would say 255).
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_in(self, seconds: float, why: str) -> None:
        """KILL it then, unless it has ended or an earlier call was for an earlier time; ``why`` is for the log."""
        at = self._loop.time() + seconds
        if self._is_killed or (self._timer is not None and self._timer.when() <= at):
            return
        self._cancel_timer()
        self._timer = self._loop.call_at(at, self._kill, why)

    async def ended(self) -> int:
        """Wait until it has ended, or until even KILL has not ended it; its exit code, 128 + n after signal n."""
        waiting: asyncio.Future[int] = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({waiting, self._left}, return_when=asyncio.FIRST_COMPLETED)
            code = waiting.result() if waiting.done() else self._left.result()
        finally:
            self._cancel_timer()
            waiting.cancel()
        return code if code >= 0 else 128 - code

    def _kill(self, why: str) -> None:
        if self._process.returncode is not None:
            return
        _log.error("process %d (pid %d) is killed: %s", self._number, self.pid, why)
        self._is_killed = True
        self.send(signal.SIGKILL)
        self._timer = self._loop.call_later(GONE, self._leave)

    def _leave(self) -> None:
        _log.error(
            "process %d (pid %d) does not end after KILL, its disk may be stuck: it is left behind, and ends when the "
            "system lets it",
            self._number,
            self.pid,
        )
        if not self._left.done():
            self._left.set_result(-signal.SIGKILL)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
