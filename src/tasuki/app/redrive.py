"""Redrive: send dead letters back to the queues where they failed."""

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

    A message stays if its original queue is not declared any more, rejects it, or is closed to the application.

    Raises:
        PolicyDeniedError: the application may not redrive from here, or not publish there.
        DriverError: the first refusal; messages that were moved before it stay moved.
    """
    guard = assembly.rights.application
    if guard is not None:
        guard.require("queue.admin.redrive", source.id, f"not allowed to redrive from queue: {source.id}")
        if target is not None:
            guard.publish(target.id)
    forbidden: set[str] = set()
    depth = await source.driver.depth(source.spec.name)
    left = depth.ready
    moved = 0
    homeless: list[Received] = []  # held until the end, or they would be received again before those behind them
    try:
        while left > 0 and (limit is None or moved < limit):
            wanted = _BATCH if limit is None else min(limit - moved, _BATCH)
            batch = await source.driver.receive(source.spec.name, min(left, wanted), 0.0)
            if not batch:
                break
            left -= len(batch)
            by_queue, strangers = _by_queue(assembly, target, batch, forbidden)
            homeless += strangers
            moved += await _move(source, by_queue)
            if progress is not None:
                progress(moved)
            if left <= 0 and depth.is_estimate:  # there may be more
                depth = await source.driver.depth(source.spec.name)
                left = depth.ready
    finally:
        if homeless:
            await _settle(source, [Release(received.receipt) for received in reversed(homeless)])
    for id in sorted(forbidden):
        assert guard is not None
        guard.publish(id)
    return moved


async def _move(source: Queue, by_queue: dict[Queue, list[Received]]) -> int:
    """Publish each message and ack it, or release it where that failed; returns how many were moved."""
    acks: list[Settlement] = []
    releases = {received.receipt: Release(received.receipt) for batch in by_queue.values() for received in batch}
    refused: Exception | None = None
    try:
        for queue, batch in by_queue.items():
            errors = await queue.forward([redriven(received) for received in batch])
            for received, error in zip(batch, errors, strict=True):
                if error is None:
                    del releases[received.receipt]
                    acks.append(Ack(received.receipt))
                else:
                    refused = refused or error
    finally:
        # Newest first: each release goes to the head, so the old order is restored.
        await _settle(source, [*acks, *reversed(releases.values())])
    if refused is not None:
        raise refused
    return len(acks)


async def _settle(source: Queue, settlements: list[Settlement]) -> None:
    """Settle, even if the caller is cancelled meanwhile."""
    size = source.driver.capabilities.max_batch
    for start in range(0, len(settlements), size):
        await asyncio.shield(source.driver.settle(source.spec.name, settlements[start : start + size]))


def _by_queue(
    assembly: Assembly, target: Queue | None, batch: list[Received], forbidden: set[str]
) -> tuple[dict[Queue, list[Received]], list[Received]]:
    """The messages by their target queue, and the messages without one; adds to the ``forbidden`` queues."""
    guard = assembly.rights.application
    found: dict[Queue, list[Received]] = {}
    strangers = []
    for received in batch:
        queue = target or assembly.queues.get(str(received.headers.get(ORIGINAL_QUEUE, "")))
        if queue is not None and guard is not None and not guard.decide("queue.publish.queue", queue.id).allowed:
            forbidden.add(queue.id)
            strangers.append(received)
        elif queue is not None:
            found.setdefault(queue, []).append(received)
        else:
            strangers.append(received)
    return found, strangers
