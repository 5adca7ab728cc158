"""Lookups: what must be asked of the broker before messages are handed out: recorded failures of redelivered ones.

Only a redelivered message can have records, so a message without a crash costs nothing here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tasuki.drivers.amqp.faults import ClosedError, LateError
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.receiving.inbox import Delivery
from tasuki.drivers.amqp.settling import records

_AT_ONCE = 16
"""Each needs a channel for a moment."""


class Lookups:
    """The lookups of one queue; calls ``on_done`` when all are done, with the error of a failed one, or None."""

    def __init__(self, queue: str, on_done: Callable[[ClosedError | LateError | None], None]) -> None:
        self._queue = queue
        self._on_done = on_done
        self._waiting: deque[Delivery] = deque()
        self.task: asyncio.Task[None] | None = None
        """Runs while there is something to find; nothing may be handed out then, as it would pass the redelivered."""

    def add(self, connection: Connection, delivery: Delivery) -> None:
        """Set ``attempt`` and ``records`` of a delivery soon."""
        self._waiting.append(delivery)
        self.start(connection)

    def start(self, connection: Connection) -> None:
        """Check a connection that is in doubt, and look up what there is to look up."""
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._run(connection), name="look up failures")
            self.task.add_done_callback(self._ended)

    def end(self) -> None:
        """The deliveries are gone."""
        self._waiting.clear()
        if self.task is not None:
            self.task.cancel()

    async def _run(self, connection: Connection) -> None:
        await connection.check()
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
            async with asyncio.TaskGroup() as group:
                for delivery in some:
                    group.create_task(self._look_up(connection, delivery))

    async def _look_up(self, connection: Connection, delivery: Delivery) -> None:
        received, message = delivery.received, delivery.identity
        known = received.attempt - 1
        found = await records.count(connection, self._queue, message, known)
        received.attempt += found
        names = (records.name_of(self._queue, message, known + number) for number in range(1, found + 1))
        delivery.records = frozenset(names)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if task.cancelled():
            return
        self._on_done(_cause(task.exception()))


def _cause(error: BaseException | None) -> ClosedError | LateError | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if error is None or isinstance(error, ClosedError | LateError) else ClosedError(0, repr(error))
