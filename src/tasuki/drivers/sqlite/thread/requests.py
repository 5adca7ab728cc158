"""Requests to the writer, and their answers: calls of the store, publishes that share a statement, receives, moves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

from tasuki.contracts.driver import Ack, Merged, Receipt, Received
from tasuki.drivers.sqlite.store.statements import Encoded, Row
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.toolkit.results import FULL, MISSING
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
    size = _ROW_BYTES * len(work.rows)
    for row in work.rows:  # not a generator: a single publish would pay for it
        size += len(row[1])
    return size


class Receive(Request):
    """Take messages; waits until there are some or the deadline passes."""

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


def answer(requests: Iterable[Request], unwanted: Callable[[Request], None]) -> None:
    """Give results to the loops that asked, once for each loop; ``unwanted`` gets requests whose callers are gone."""
    loops: defaultdict[asyncio.AbstractEventLoop, list[Request]] = defaultdict(list)
    for request in requests:
        request.is_answered = True
        if request.future is not None:
            loops[request.future.get_loop()].append(request)
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_deliver, answered, unwanted)
        except RuntimeError:  # the loop was closed
            for request in answered:
                unwanted(request)


def _deliver(answered: list[Request], unwanted: Callable[[Request], None]) -> None:
    for request in answered:
        future = request.future
        if future is None or future.done():
            unwanted(request)
        elif request.error is not None:
            future.set_exception(request.error)
        else:
            future.set_result(request.result)


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


class Leaving(NamedTuple):
    """A message that is to leave, by its number and its id."""

    seq: int
    id: str


def transferring(queue: str, to: str, leaving: Sequence[Leaving], work: Encoded) -> Call:
    """The request; row for row, ``work`` has the messages to store for ``leaving``. Its result is one outcome each."""
    return Call(queue, lambda store, number: _transfer(store, number, to, leaving, work), size_of(work))


def _transfer(store: Store, queue: int, to: str, leaving: Sequence[Leaving], work: Encoded) -> list[int]:
    target = store.queues.find(to)
    waiting = {row[0]: row for row in store.purging.waiting(queue, leaving)}
    tally = store.queues.tally(target)
    room = len(leaving) if tally.max_length is None else tally.max_length - tally.total
    told: list[int] = []
    chosen: list[int] = []
    for index, (seq, _) in enumerate(leaving):
        if seq not in waiting:
            told.append(MISSING)
        elif room + (target == queue) <= 0:
            told.append(FULL)
        else:
            told.append(0)
            chosen.append(index)
            room -= target != queue
    store.purging.take_out(queue, [waiting[leaving[index].seq] for index in chosen])
    rows = [work.rows[index] for index in chosen]
    delays = {place: work.delays[index] for place, index in enumerate(chosen) if index in work.delays}
    lanes = {place: work.lanes[index] for place, index in enumerate(chosen) if index in work.lanes}
    store.publish(target, rows, delays, range(len(rows)), lanes)
    return told
