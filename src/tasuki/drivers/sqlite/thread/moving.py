"""Moving: end deliveries together with storing what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tasuki.contracts.driver import Ack, Receipt
from tasuki.drivers.sqlite.encoding import Encoded
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.sqlite.thread.requests import Request, size_of
from tasuki.errors import QueueNotFoundError

Outcome = Literal["stale", "full"] | QueueNotFoundError | None
"""Of one move; None: done."""


class Step(NamedTuple):
    """One move: the delivery that ends, and the messages for each queue."""

    receipt: Receipt
    to: str
    work: Encoded


class Moving(Request):
    """Move; the result is one outcome a step. Before the sweep, as a settlement."""

    order = 0

    def __init__(self, queue: str, steps: Sequence[Step]) -> None:
        super().__init__(queue)
        self._steps = steps
        self.size = sum(size_of(step.work) for step in steps)

    def run(self, store: Store) -> list[Outcome]:
        """See the store."""
        queue = store.queues.find_held(self.queue)
        return [_move(store, queue, step) for step in self._steps]


def _move(store: Store, queue: int, step: Step) -> Outcome:
    if not store.is_held(queue, step.receipt):
        return "stale"
    work = step.work
    try:
        target = store.queues.find(step.to)
    except QueueNotFoundError as error:
        return error
    if store.publish(target, work.rows, work.delays, work.always, is_whole=True) < len(work.rows):
        return "full"
    store.settle(queue, [Ack(step.receipt)])
    return None
