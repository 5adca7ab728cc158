"""Explain: why each message of a twin waits, in one line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

from tasuki.consumers.handling.stack import stacks_of
from tasuki.observe.tracebacks import is_ours
from tasuki.state.pauses import Pause, pause_of_consumer
from tasuki.testing.twin.driver import twin_of
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.consumers.consumer import Consumer
    from tasuki.drivers.memory.queue import MemoryQueue
    from tasuki.drivers.memory.slots import Slot
    from tasuki.queues.queue import Queue
    from tasuki.testing.twin.driver import Faults

LINES = 10


def explain(faults: Faults, queues: Iterable[Queue], consumers: Sequence[Consumer], limit: int = LINES) -> str:
    """One line for each message of these queues, up to a limit; empty if there is none."""
    lines = [
        line for queue in queues for line in _lines(faults, queue, [each for each in consumers if each.queue is queue])
    ]
    more = [f"… and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def waited_for(consumers: Sequence[Consumer]) -> str:
    """One line for each running handler, with the line of code where it is, if that is known; empty if none runs."""
    lines = []
    for consumer in consumers:
        for delivery, frames in stacks_of(consumer.now.workers, None):
            users = [frame for frame in frames if not is_ours(frame.filename)]
            place = f", in {users[-1].filename}:{users[-1].lineno}" if users else ""
            received = delivery.received
            lines.append(
                f"  {consumer.queue.id} {received.id}: handler {delivery.function}, attempt {received.attempt}{place}"
            )
    return "\n".join(lines[:LINES])


def _lines(faults: Faults, queue: Queue, consumers: list[Consumer]) -> Iterator[str]:
    stored = twin_of(queue).queues[queue.spec.name]
    for slot in stored.held.values():
        yield f"  {queue.id} {slot.id}: {_held(faults, slot, consumers)}"
    waiting = list(stored.peek())
    ready = dict.fromkeys(map(id, stored.receivable()), _next(faults, stored))
    for slot in waiting:
        yield f"  {queue.id} {slot.id}: {_waits(faults, slot, consumers, ready.get(id(slot)))}{_after(slot)}"


def _held(faults: Faults, slot: Slot, consumers: list[Consumer]) -> str:
    for consumer in consumers:
        if any(delivery.received.id == slot.id for delivery in consumer.now.deliveries):
            return f"{consumer.handler.id} is handling it, attempt {slot.failures + 1}"
    if faults.is_away:
        return "its handler has ended, and the broker is unavailable, so it cannot be settled"
    return "its handler has ended, and its dead-letter queue does not take it"


def _waits(faults: Faults, slot: Slot, consumers: list[Consumer], ready: str | None) -> str:
    if slot.due:
        left = max(slot.due - faults.clock.monotonic(), 0.0)
        return f"it is due in {format_duration(round(left, 3))}: advance the time"
    if not consumers:
        return "no consumer of this queue starts automatically"
    if faults.is_away:
        time = format_duration(round(faults.away_until - faults.clock.monotonic(), 3))
        return f"the broker is unavailable for {time}"
    pauses = [_pause_of(faults, consumer) for consumer in consumers]
    if (pause := pauses[0]) is not None and None not in pauses:
        return f"it is paused {pause}"
    return ready or f"it waits for earlier messages of key {slot.key!r}"


def _next(faults: Faults, queue: MemoryQueue) -> str:
    """What must happen for a message that is ready to be handed out."""
    left = queue.next_at(faults.clock.monotonic()) - faults.clock.monotonic()
    if left <= 0:
        return "it is ready: drain"
    if left == inf:
        return "it waits for a place: the limit of its queue lets no more be held"
    return f"the limit of its queue lets the next one come in {format_duration(round(left, 3))}: advance the time"


def _pause_of(faults: Faults, consumer: Consumer) -> Pause | None:
    if consumer.state is None:
        return None
    pause = pause_of_consumer(consumer.state.controls, consumer.queue.spec.name, consumer.id)
    is_over = pause is not None and pause.until is not None and pause.until <= faults.clock.time()
    return None if is_over else pause


def _after(slot: Slot) -> str:
    failures = f"; failed {slot.failures} times" if slot.failures else ""
    return failures + (f", last: {slot.failure[0]}" if slot.failure else "")
