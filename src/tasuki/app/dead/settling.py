"""Settling of letters that a tool has received: all of them, however often its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.contracts.driver import Settlement
from tasuki.queues.queue import Queue


async def settle_all(source: Queue, settlements: Sequence[Settlement]) -> None:
    """Settle letters in the order given, in batches; a cancellation is raised when all are settled.

    Raises:
        DriverError: a batch could not be settled; the later ones are not.
    """
    settling, is_cancelled = asyncio.create_task(_settle(source, settlements), name="settle letters"), False
    while not settling.done():
        try:
            await asyncio.wait([settling])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        settling.exception()  # read, so that asyncio does not log it
        raise asyncio.CancelledError
    settling.result()


async def _settle(source: Queue, settlements: Sequence[Settlement]) -> None:
    size = source.driver.capabilities.max_batch
    for start in range(0, len(settlements), size):
        await source.driver.settle(source.spec.name, settlements[start : start + size])
