"""Moving: end deliveries together with storing what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tasuki.contracts.driver import Ack, Receipt
from tasuki.drivers.sqlite.encoding import Encoded
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.sqlite.thread.requests import DeliveryCall, size_of
from tasuki.errors import QueueNotFoundError

Outcome = Literal["stale", "full"] | QueueNotFoundError | None
"""Of one move; None: done."""


class Step(NamedTuple):
    """One move: the delivery that ends, and the messages for each queue."""

    receipt: Receipt
    to: str
    work: Encoded


def moving(queue: str, steps: Sequence[Step]) -> DeliveryCall:
    """The request; its result is one outcome a step."""
    size = sum(size_of(step.work) for step in steps)
    return DeliveryCall(queue, lambda store, number: [_move(store, number, step) for step in steps], size)


def _move(store: Store, queue: int, step: Step) -> Outcome:
    if not store.is_held(queue, step.receipt):
        return "stale"
    work = step.work
    try:
        target = store.queues.find(step.to)
    except QueueNotFoundError as error:
        return error
    if store.publish(target, work.rows, work.delays, work.always, work.lanes, is_whole=True) < len(work.rows):
        return "full"
    store.settle(queue, [Ack(step.receipt)])
    return None
