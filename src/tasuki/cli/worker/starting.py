"""The signals of ``run`` before its event loop handles them, and after."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tasuki.system.signals import Meaning, StopSignals

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StoppedError(KeyboardInterrupt):
    """A signal to stop came before the app ran: nothing was taken, so there is nothing to drain."""


class EarlySignals:
    """Handles signals for a process whose event loop does not: while it imports and checks, and while it ends."""

    def __init__(self) -> None:
        self.stops = StopSignals()
        self.wants_reload = False
        """HUP came before the app ran."""
        self.is_starting = True
        """False once the app has run: the process ends anyway."""

    @property
    def has_stopped(self) -> bool:
        """Whether a signal has ended the start; Click turns the exception for it into a plain interrupt."""
        return self.is_starting and self.stops.first is not None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle them within the block. Raises StoppedError there for a signal to stop while ``is_starting``."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = {number: signal.signal(number, self._hear) for number in _HANDLED}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)  # see ``keep_for_the_next``
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.wants_reload = True
            return
        meaning = self.stops.hear(number, time.monotonic())
        if meaning is Meaning.CANCEL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif meaning is Meaning.DRAIN and self.is_starting:
            raise StoppedError


def keep_for_the_next() -> None:
    """Hold signals back until the program that replaces this one handles them (a mask survives ``exec``)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)


@contextmanager
def held_for_a_child() -> Iterator[None]:
    """A process that is spawned within the block has HUP held back until it handles signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
