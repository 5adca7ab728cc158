"""Run one verb of a service in its own task, with a time limit; contain its errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from tasuki.errors import LifecycleError

CANCEL_GRACE = 1.0
"""Seconds for which a cancelled verb may still run; after that the supervisor goes on without it, and logs that."""

_log = logging.getLogger("tasuki.supervisor")


class StepTimeoutError(Exception):
    """A verb took too long; not a TimeoutError, which the verb may raise for its own reasons."""


async def run_step(verb: Coroutine[Any, Any, None], *, name: str, timeout: float | None = None) -> None:
    """Await a verb for at most ``timeout`` seconds (None: no limit); cancelled along with the caller.

    Raises:
        StepTimeoutError: the time is over; the verb was cancelled.
        LifecycleError: the verb tried to end the process, or cancelled itself. (A client library may raise
            CancelledError for a lost connection; it must not be taken for the cancellation of the caller.)
    """
    task = asyncio.create_task(_contain(verb, name), name=name)
    task.add_done_callback(retrieve)
    try:
        await asyncio.wait({task}, timeout=timeout)
    except asyncio.CancelledError:
        await _end(task, name)
        raise
    if not task.done():
        await _end(task, name)
        if not task.done() or task.cancelled():
            raise StepTimeoutError
    if task.cancelled():
        raise LifecycleError(f"{name} was cancelled from within")
    task.result()


async def _contain(verb: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await verb
    except (SystemExit, KeyboardInterrupt) as error:
        # A task that raises these takes the whole loop with it.
        raise LifecycleError(f"{name} raised {type(error).__name__}") from error


async def _end(task: asyncio.Task[None], name: str) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE)
    if not task.done():
        _log.error("%s does not end when cancelled; the supervisor goes on without it", name)


def retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the error of a task that may never be awaited, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
