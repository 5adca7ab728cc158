"""Time for tests: a clock that is moved by hand, and an event loop whose time jumps when there is nothing to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasuki.clock import Clock
from tasuki.units import Duration, parse_duration

EPOCH = 1_700_000_000.0
"""Unix time at which test clocks begin."""


class FakeClock:
    """A Clock that stands still until it is moved."""

    def __init__(self, time: float = EPOCH) -> None:
        self._elapsed = 0.0
        self._time = time

    def monotonic(self) -> float:
        """Seconds by which it was advanced."""
        return self._elapsed

    def boottime(self) -> float:
        """The same as ``monotonic``."""
        return self._elapsed

    def time(self) -> float:
        """Unix time: where it began, plus what it was advanced and set off by."""
        return self._time

    def advance(self, duration: Duration) -> None:
        """Let time pass: seconds, text (``5m``) or a ``timedelta``.

        Raises:
            ValueError: it cannot go back, or not a duration.
        """
        if isinstance(duration, int | float) and duration < 0:
            raise ValueError("time cannot go back; set_off moves the wall clock alone")
        seconds = parse_duration(duration)
        self._elapsed += seconds
        self._time += seconds

    def set_off(self, seconds: float) -> None:
        """Move the wall clock alone, forward or back, as an administrator or NTP does."""
        self._time += seconds


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything runs, and jumps to the next timer when all is idle.

    A test of a 90 s backoff takes no time, and always the same. ``clock`` tells its time to code that takes a Clock.

    For code of one thread only: it does not wait for threads, processes or sockets, so what runs in another thread
    finds all timeouts over at once. When every task waits and there is no timer either, nothing could ever happen;
    then it raises RuntimeError, so that a deadlock fails the test at once.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))
        self.clock: Clock = _LoopClock(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let time pass; the loop does this by itself."""
        self._now += seconds


class _LoopClock:
    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    boottime = monotonic

    def time(self) -> float:
        return EPOCH + self._loop.time()


class _JumpingSelector(selectors.DefaultSelector):
    """Asked to wait, it lets the loop's time pass instead."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise RuntimeError("every task waits and no timer is set: nothing could ever happen (virtual time)")
        self._loop.jump(timeout)
        return events


@contextmanager
def virtual_time() -> Iterator[asyncio.Runner]:
    """Give a runner of coroutines in virtual time.

    ``with virtual_time() as runner: runner.run(main())``. Within, ``asyncio.get_running_loop().clock`` is the Clock.
    With AnyIO's pytest plugin, let the fixture ``anyio_backend`` return
    ``("asyncio", {"loop_factory": VirtualTimeLoop})`` instead.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner
