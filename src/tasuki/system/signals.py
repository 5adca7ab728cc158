"""Signals and forks: the first stop signal drains, the second cancels; a forked handler keeps none of the worker's."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

SAME_SIGNAL = 0.5
"""Seconds within which the same signal again is one signal: ``timeout``, ``npm`` and ``uv run`` send it twice."""


class Meaning(Enum):
    """The meaning of a signal."""

    DRAIN = "drain"
    CANCEL = "cancel"
    NOTHING = "nothing"
    """The same signal again, or a third one."""


@dataclass(eq=False, slots=True)
class StopSignals:
    """The stop signals that a process has received, with their meanings."""

    first: int | None = None
    """Number of the signal that asked to drain."""
    first_at: float = 0.0
    """When it came (monotonic)."""
    second: int | None = None
    """Number of the signal that asked to cancel what still ran."""

    def hear(self, number: int, now: float) -> Meaning:
        """Decide what this signal means; ``now`` is a monotonic time in seconds."""
        if self.first is None:
            self.first, self.first_at = number, now
            return Meaning.DRAIN
        if self.second is not None or (number == self.first and now - self.first_at < SAME_SIGNAL):
            return Meaning.NOTHING
        self.second = number
        return Meaning.CANCEL

    def are_unheeded(self, blocked_at: float, now: float, limit: float) -> bool:
        """Whether an event loop that is blocked since then has kept the process from its stop for too long.

        ``limit``: seconds that it has after the first signal; after the second it has none.
        """
        if self.first is None:
            return False
        return self.second is not None or now - max(self.first_at, blocked_at) >= limit


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads, after flushing output and logs."""
    for handler in (*logging.getLogger().handlers, *logging.getLogger("tasuki").handlers):
        handler.flush()
    flush_output()
    os._exit(code)


def flush_output() -> None:
    """Flush the standard streams, as far as there are any and they can be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


fork_count = 0
"""How many forks lie between the first process and this one; a handler in which it has grown goes on in a child."""


_taken: set[signal.Signals] = set()


class _Forking(threading.local):
    mask: set[int | signal.Signals] | None = None
    """The signals that the forking thread had blocked; None: nothing is to be done."""


_forking = _Forking()


@contextmanager
def signals_on_loop(handlers: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Let the running loop handle these signals within the block, and only in this process.

    The loop learns of signals through a pipe, which a forked child shares: a signal for the child (as
    ``multiprocessing.Pool`` sends to end its own) would not end it, and stop the parent instead. So a child has
    Python's own handling of them again.
    """
    import asyncio  # slow: a starting command handles signals before it

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    keep_from_children(handlers)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
            if callable(previous := before[number]):
                signal.signal(number, previous)
            _taken.discard(number)


def keep_from_children(signals: Iterable[signal.Signals]) -> None:
    """Let these signals do in forked children what they do in any Python program, whatever they do here."""
    _taken.update(signals)


def _before() -> None:
    # Signals for the child wait until it has its own handling; until then they would reach the parent.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _taken) if _taken else None


def _in_parent() -> None:
    if _forking.mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _in_child() -> None:
    global fork_count
    fork_count += 1
    if _forking.mask is None:
        return
    signal.set_wakeup_fd(-1)
    for number in _taken:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _taken.clear()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def leave_child(error: BaseException | None) -> NoReturn:
    """End a child that has come to the end of the handler in which it was forked; the message is the parent's.

    Its exit code is as if the handler had been its main program.
    """
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if code and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    flush_output()
    os._exit(code & 0xFF)
