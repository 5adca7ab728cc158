"""The event loop of a command: Ctrl-C ends it at once, and nothing that hangs keeps the process alive."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from tasuki.cli.exits import ERROR
from tasuki.system.loop_thread import new_event_loop
from tasuki.system.signals import leave

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


T = TypeVar("T")


GRACE = 0.5
"""Seconds that tasks and threads have to end by themselves after the work is over."""


_stuck: list[str] = []


def run(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run a command's work on its own loop; ``fast``: a worker's, on uvloop if it is installed.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C, and the work did not handle that itself.
    """
    before = set(threading.enumerate())
    descriptors = Descriptors(partial(leave, ERROR)) if fast else None
    loop = new_event_loop() if fast else asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    if descriptors is not None:
        loop.call_soon(descriptors.watch)
    task = loop.create_task(work)
    if descriptors is not None:
        # Before the loop stops: uvloop closes the sockets for its signals then.
        task.add_done_callback(lambda _: descriptors.stop())
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:
        loop.add_signal_handler(signal.SIGINT, _interrupt, task)
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        if is_main:
            loop.remove_signal_handler(signal.SIGINT)
        if descriptors is not None:
            descriptors.stop()  # where the loop has ended and its work has not
        _end(loop)
        _stuck.extend(_await_threads(before))


def _interrupt(task: asyncio.Task[Any]) -> None:
    if task.cancelling():
        leave(128 + signal.SIGINT)  # the second time: it hangs in something that cannot be cancelled
    task.cancel()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel remaining tasks and close the loop, within the grace; unlike asyncio.run, which waits forever."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
    for task in left:
        if not task.done():
            _stuck.append(task.get_name())
        elif not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def _await_threads(before: set[threading.Thread]) -> list[str]:
    """Names of the threads that would keep the interpreter from ending."""
    ends_at = time.monotonic() + GRACE
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in new:
        thread.join(max(ends_at - time.monotonic(), 0.0))
    return [thread.name for thread in new if thread.is_alive()]


def leave_if_stuck(code: int) -> None:
    """End the process here and now if something that was left behind would keep it alive."""
    if _stuck:
        leave(code)
