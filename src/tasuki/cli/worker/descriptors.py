"""Descriptors: a worker whose event loop has lost its own ends with an error, so that its supervisor replaces it.

A handler can close descriptors that it did not open (``os.closerange``, as recipes for daemons have it). Without its
wake-up the loop sleeps forever: no thread and no signal reaches it, and the worker looks alive.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable

_log = logging.getLogger("tasuki.processes")

PERIOD = 1.0
"""Seconds between two checks; each reads the state of a few descriptors."""

Identity = tuple[int, int, int]


class Descriptors:
    """The descriptors of one event loop; made just before the loop."""

    def __init__(self, on_loss: Callable[[], object], period: float = PERIOD) -> None:
        self._on_loss = on_loss
        self._period = period
        self._before = _open_ones()
        self._own: dict[int, Identity] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tasuki-descriptors", daemon=True)

    def watch(self) -> None:
        """Record the new descriptors as the loop's own; must be the first step of the loop."""
        self._own = {number: what for number, what in _open_ones().items() if self._before.get(number) != what}
        self._thread.start()

    def stop(self) -> None:
        """Watch no more: the loop is going to close them itself."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def lost(self) -> list[int]:
        """Descriptors that are closed now, or belong to another file."""
        return [number for number, what in self._own.items() if _identity(number) != what]

    def _watch(self) -> None:
        while not self._ended.wait(self._period):
            if lost := self.lost():
                _log.critical(
                    "file descriptors of the event loop are closed (%s): a handler closed descriptors that it did not "
                    "open (os.closerange?); this process ends, for it can neither work nor be stopped",
                    ", ".join(map(str, lost)),
                )
                self._on_loss()
                return


def _open_ones() -> dict[int, Identity]:
    found = {number: _identity(number) for number in map(int, os.listdir("/dev/fd"))}
    return {number: what for number, what in found.items() if what is not None}


def _identity(number: int) -> Identity | None:
    """The file of a descriptor; None if it is closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)
