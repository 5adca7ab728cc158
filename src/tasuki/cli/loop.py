"""The event loop of a command: Ctrl-C ends it at once, and nothing that hangs keeps the process alive."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from tasuki.cli.exits import ERROR
from tasuki.cli.worker.descriptors import Descriptors
from tasuki.system.loop_thread import new_event_loop
from tasuki.system.stopping import leave

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
