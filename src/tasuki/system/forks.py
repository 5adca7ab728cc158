"""Forks of handlers: remove the worker's signals and work from the child process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from tasuki.system.stopping import flush_output

count = 0
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
    global count
    count += 1
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
