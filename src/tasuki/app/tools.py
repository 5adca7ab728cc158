"""Tools over live queues: redrive, and waiting for empty ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.app.assembly import Assembly
from tasuki.contracts.driver import Ack, Received, Release, Settlement
from tasuki.message import ORIGINAL_QUEUE
from tasuki.queues.dead_letter import redriven
from tasuki.queues.queue import Queue

_BATCH = 200


async def redrive(
    assembly: Assembly,
    source: Queue,
    target: Queue | None,
    limit: int | None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Move messages from a dead-letter queue back, each published before it is acked; returns how many.

    A message whose original queue is not declared any more, or cannot take it, stays where it is.

    Raises:
        DriverError: the first refusal; what was moved before it stays moved.
    """
    depth = await source.depth()
    left = depth.ready if limit is None else min(limit, depth.ready)
    moved = 0
    while left > 0:
        batch = await source.driver.receive(source.spec.name, min(left, _BATCH), 0.0)
        if not batch:
            break
        left -= len(batch)
        count = await _move(assembly, source, target, batch)
        moved += count
        if progress is not None:
            progress(moved)
    return moved


async def _move(assembly: Assembly, source: Queue, target: Queue | None, batch: list[Received]) -> int:
    settlements: dict[int, Settlement] = {i: Release(received.receipt) for i, received in enumerate(batch)}
    refused: Exception | None = None
    try:
        for queue, numbers in _by_queue(assembly, target, batch).items():
            errors = await queue.forward([redriven(batch[i]) for i in numbers])
            for i, error in zip(numbers, errors, strict=True):
                if error is None:
                    settlements[i] = Ack(batch[i].receipt)
                else:
                    refused = refused or error
    finally:
        # Newest first, so that what is released stands in its old order at the head again.
        await asyncio.shield(source.driver.settle(source.spec.name, [settlements[i] for i in reversed(settlements)]))
    if refused is not None:
        raise refused
    return sum(isinstance(settlement, Ack) for settlement in settlements.values())


def _by_queue(assembly: Assembly, target: Queue | None, batch: list[Received]) -> dict[Queue, list[int]]:
    """Numbers of the messages by the queue that each goes to; those with nowhere to go are left out."""
    found: dict[Queue, list[int]] = {}
    for i, received in enumerate(batch):
        queue = target or assembly.queues.get(str(received.headers.get(ORIGINAL_QUEUE, "")))
        if queue is not None:
            found.setdefault(queue, []).append(i)
    return found


async def until_empty(assembly: Callable[[], Assembly | None], pause: float = 0.05) -> None:
    """Return when no consumed queue holds a message, delayed and held ones included."""
    while (live := assembly()) is not None:
        before = _handled(live)
        queues = {consumer.queue for consumer in live.consumers.values()}
        depths = [await queue.depth() for queue in queues]
        empty = not any(depth.ready + depth.in_flight + depth.delayed for depth in depths)
        # A handler may have published between two of the looks: only a round without any delivery proves it.
        if empty and before == _handled(live) and not any(consumer.held for consumer in live.consumers.values()):
            return
        await asyncio.sleep(pause)


def _handled(assembly: Assembly) -> int:
    return sum(consumer.metrics.delivered for consumer in assembly.consumers.values())
