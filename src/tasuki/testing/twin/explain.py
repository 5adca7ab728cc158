"""Explain: why each message of a twin waits, in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.consumers.consumer import Consumer
    from tasuki.drivers.memory.lanes import Slot
    from tasuki.queues.queue import Queue
    from tasuki.testing.twin.driver import TwinDriver
    from tasuki.testing.twin.work import Work

LINES = 10


def explain(work: Work, *, limit: int = LINES, but: frozenset[str] = frozenset()) -> str:
    """One line for each message, up to a limit; empty if there is none. ``but``: ids of queues to leave out."""
    lines = [line for id, queue in work.assembly.queues.items() if id not in but for line in _lines(work, queue)]
    more = [f"… and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def _lines(work: Work, queue: Queue) -> Iterator[str]:
    driver: TwinDriver = next(each for each in work.faults.drivers if each is queue.driver)
    stored = driver.queues[queue.spec.name]
    consumers = [consumer for consumer in work.selected if consumer.queue is queue]
    for slot in stored.held.values():
        yield f"  {queue.id} {slot.id}: {_held(work, slot, consumers)}"
    waiting = list(stored.peek())
    ready = {id(slot) for lane in stored.lanes.values() for slot in lane}
    for slot in waiting:
        yield f"  {queue.id} {slot.id}: {_waits(work, slot, consumers, is_ready=id(slot) in ready)}{_after(slot)}"


def _held(work: Work, slot: Slot, consumers: list[Consumer]) -> str:
    for consumer in consumers:
        if any(delivery.received.id == slot.id for delivery in consumer.deliveries()):
            return f"{consumer.handler.id} is handling it, attempt {slot.failures + 1}"
    if work.faults.is_away:
        return "its handler has ended, and the broker is away, so it cannot be settled"
    return "its handler has ended, and its dead-letter queue does not take it"


def _waits(work: Work, slot: Slot, consumers: list[Consumer], *, is_ready: bool) -> str:
    if slot.due:
        left = max(slot.due - work.clock.monotonic(), 0.0)
        return f"it is due in {format_duration(round(left, 3))}: advance the time"
    if not consumers:
        return "no consumer of this queue starts by itself"
    if work.faults.is_away:
        return f"the broker is away for {format_duration(round(work.faults.away_until - work.clock.monotonic(), 3))}"
    return "it is ready: drain" if is_ready else f"it waits for earlier messages of key {slot.key!r}"


def _after(slot: Slot) -> str:
    failures = f"; failed {slot.failures} times" if slot.failures else ""
    return failures + (f", last: {slot.failure[0]}" if slot.failure else "")
