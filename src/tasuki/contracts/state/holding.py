"""Holding: one of the places of a key for the time of a block, renewed while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol
from uuid import uuid4

from tasuki.errors import HandlerError

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
"""Seconds between two requests for a place that is taken; each pause is twice the one before."""
_RENEWALS = 3
"""Times that a lease is renewed while it would last."""


class Places(Protocol):
    """A store with places."""

    async def hold(self, key: str, holder: str, *, places: int = 1, lease: float) -> float | None:
        """Take or renew a place; None: all are taken."""

    async def release(self, key: str, holder: str) -> None:
        """Free the holder's place."""


@asynccontextmanager
async def holding(store: Places, key: str, *, places: int, lease: float, wait: float) -> AsyncIterator[None]:
    """See :meth:`tasuki.contracts.state.store_handle.StoreHandle.holding`; all times in seconds."""
    holder, deadline = uuid4().hex, asyncio.timeout(None)
    try:
        ends = await _take(store, key, holder, places, lease, wait)
        async with deadline:
            deadline.reschedule(ends)
            renewing = asyncio.create_task(_renew(store, key, holder, places, lease, deadline))
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
    except TimeoutError:
        if not deadline.expired():
            raise
        problem = f"the place at key {key[:40]!r} is lost: its lease ended before it could be renewed"
        raise HandlerError(problem, kind="Conflict", retryable=True) from None
    finally:
        with suppress(HandlerError):  # then it ends with its lease
            await store.release(key, holder)


async def _take(store: Places, key: str, holder: str, places: int, lease: float, wait: float) -> float:
    """When the lease ends, by the clock of the loop. It began after it was requested, so this is never too late."""
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    gives_up = loop.time() + wait
    while True:
        asked = loop.time()
        if await store.hold(key, holder, places=places, lease=lease) is not None:
            return asked + lease
        left = gives_up - loop.time()
        if left <= 0:
            problem = f"all places at key {key[:40]!r} are taken ({places})"
            raise HandlerError(problem, kind="Conflict", retryable=True)
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _renew(store: Places, key: str, holder: str, places: int, lease: float, deadline: asyncio.Timeout) -> None:
    """Renew the lease, and with it the deadline of the block, until a renewal is refused."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(lease / _RENEWALS)
        asked = loop.time()
        with suppress(HandlerError):  # the next renewal may succeed in time
            if await store.hold(key, holder, places=places, lease=lease) is None:
                deadline.reschedule(loop.time())
                return
            deadline.reschedule(asked + lease)
