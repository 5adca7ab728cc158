"""What can be asked of the writer: calls of the store, publishes that share a statement, receives that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tasuki.contracts.driver import Merged, Received
from tasuki.drivers.sqlite.encoding import Encoded
from tasuki.drivers.sqlite.store.rows import Row
from tasuki.drivers.sqlite.store.store import Store
from tasuki.errors import DriverError, QueueNotFoundError

_ROW_BYTES = 1000
"""Reckoned for what a message takes beside its body."""


class Request:
    """Something to do in the next transaction, and who wants to know."""

    order = 2
    size = 0
    """Bytes that it adds to the file: one that adds some has to wait where the disk is full."""
    changes = 0
    """Rows that it changed, and that no receive of another process has to hear of."""

    def __init__(self, queue: str = "") -> None:
        self.queue = queue
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: DriverError | None = None
        self.is_answered = False

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller was cancelled."""
        return self.future is not None and self.future.cancelled()

    def run(self, store: Store) -> Any:
        """Do it; the result is answered after the commit."""

    def attempt(self, store: Store) -> Any:
        """Do it, and return the result. A deleted queue is an error of this request alone."""
        self.error = None
        try:
            return self.run(store)
        except QueueNotFoundError as error:
            self.error = error
            return None


class Call(Request):
    """Any other work on a queue: declare, depth, peek, purge."""

    def __init__(self, queue: str, work: Callable[[Store, int], Any], size: int = 0) -> None:
        super().__init__(queue)
        self._work = work
        self.size = size

    def run(self, store: Store) -> Any:
        """Call the work with the queue's number."""
        return self._work(store, store.queues.find(self.queue) if self.queue else 0)


class StateCall(Call):
    """Work on the tables of a store: it changes nothing that a receive waits for."""

    def run(self, store: Store) -> Any:
        """Do it, and count the rows that it changes."""
        before = store.connection.total_changes
        result = super().run(store)
        self.changes = store.connection.total_changes - before
        return result


class DeliveryCall(Call):
    """Work that ends or keeps deliveries: before the sweep, and on an undeclared queue too."""

    order = 0

    def run(self, store: Store) -> Any:
        """Call the work with the queue's number."""
        return self._work(store, store.queues.find_held(self.queue))


class Publish(Request):
    """Store messages; the result is how many from the start are taken care of."""

    order = 1

    def __init__(self, queue: str, work: Encoded) -> None:
        super().__init__(queue)
        self.work = work
        self.size = size_of(work)


class PublishUnique(Publish):
    """Store messages of which some are unique, one by one; the result is an answer each, up to the first without room.

    It shares no statement with other publishes.
    """

    def run(self, store: Store) -> list[Merged | None]:
        """Store them, or merge them into others."""
        return store.uniques.publish(store, store.queues.find(self.queue), self.work)


def size_of(work: Encoded) -> int:
    """Bytes that messages will take."""
    return sum(len(row[1]) + _ROW_BYTES for row in work.rows)


class Receive(Request):
    """Take messages; parked until there are some or the deadline passes."""

    order = 3

    def __init__(self, queue: str, limit: int, deadline: float) -> None:
        super().__init__(queue)
        self._limit = limit
        self.deadline = deadline
        self.result: list[Received] = []

    @property
    def is_over(self) -> bool:
        """Whether it can be answered, before its deadline."""
        return bool(self.result) or self.error is not None

    def run(self, store: Store) -> list[Received]:
        """Claim ready messages."""
        number = store.queues.find(self.queue)
        store.surface(number)
        return store.claim(number, self._limit)


class Stop(Request):
    """Close the file and end the thread."""


def work_on(store: Store, group: Sequence[Request]) -> None:
    """Carry out all but the receives, in their order."""
    ordered = sorted(group, key=lambda request: (request.order, request.queue))
    for (kind, queue), requests in groupby(ordered, key=lambda request: (type(request), request.queue)):
        if kind is Publish:
            _publish_together(store, queue, [item for item in requests if isinstance(item, Publish)])
        elif kind is not Receive:
            for request in requests:
                request.result = request.attempt(store)


def _publish_together(store: Store, queue: str, requests: Sequence[Publish]) -> None:
    """Store the messages of many callers with one statement; room goes to those who came first."""
    rows: list[Row] = []
    delays: dict[int, float] = {}
    always: set[int] = set()
    lanes: dict[int, str] = {}
    for request in requests:
        for index, delay in request.work.delays.items():
            delays[len(rows) + index] = delay
        always.update(len(rows) + index for index in request.work.always)
        for index, lane in request.work.lanes.items():
            lanes[len(rows) + index] = lane
        rows += request.work.rows
    taken: int = 0
    try:
        taken = store.publish(store.queues.find(queue), rows, delays, always, lanes)
    except QueueNotFoundError as error:
        for request in requests:
            request.error = error
    for request in requests:
        request.result = min(taken, len(request.work.rows))
        taken -= request.result
