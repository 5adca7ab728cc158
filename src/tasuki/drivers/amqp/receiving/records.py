"""Records: failures of a message that no copy of it carries yet, as empty queues at the broker.

RabbitMQ counts returns (``x-delivery-count``, from 4.3 on ``x-acquired-count``), but the return of a message whose
handler failed looks like the return of one that lay unused in a worker that died. So the count of failures stands in a
header of the message (see ``envelope``), and a failure that must not move the message, such as the start of a handler
that may kill its worker, is recorded by the existence of a queue named after the message and the number of the failure.

A queue and not a message in one: a declaration is done once however often it is asked for, needs no connection that a
memory alarm blocks, and is replicated. The records of a message are deleted when it is settled; records that outlive
their message expire.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from pamqp import commands

from tasuki.drivers.amqp.faults import ClosedError, LateError
from tasuki.drivers.amqp.protocol.connection import Connection, passively, up_to_missing
from tasuki.drivers.amqp.receiving.deliveries import Delivery

EXPIRY_MS = 7 * 24 * 3600 * 1000
_PATIENCE = 2.0
"""Seconds to wait until the broker has deleted records."""


def name_of(queue: str, message: bytes, number: int) -> str:
    """The record of a message's failure with this number, from 1; ``message`` identifies it within its queue."""
    return f"{queue}.failed.{hashlib.sha256(message).hexdigest()[:16]}.{number}"


async def count(connection: Connection, queue: str, message: bytes, known: int) -> int:
    """How many failures are recorded beyond the known ones. Raises ClosedError or LateError."""
    names = (name_of(queue, message, number) for number in itertools.count(known + 1))
    return len(await up_to_missing(connection, map(passively, names)))


async def make(connection: Connection, names: Collection[str]) -> None:
    """Record failures; they are at the broker when this returns. Raises ClosedError or LateError."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-expires": EXPIRY_MS}
    if not names:
        return
    # Not on the channel of the deliveries: a refusal ends the channel, and with it what it holds.
    async with connection.borrow() as channel:
        await channel.ask(*(commands.Queue.Declare(queue=name, durable=True, arguments=arguments) for name in names))


async def drop(connection: Connection, names: Collection[str]) -> None:
    """Forget records, whether they are there or not. Raises ClosedError or LateError.

    A record that was made just before a crash of the broker may have no leader after it: its deletion takes seconds.
    The connection does not end for that; the broker goes on with what it was asked for.
    """
    if not names:
        return
    async with connection.borrow() as channel:
        await channel.ask_within(_PATIENCE, *(commands.Queue.Delete(queue=name) for name in names))


_AT_ONCE = 16
"""Each needs a channel for a moment."""


class Lookups:
    """Asks the broker for the recorded failures of redelivered messages of one queue, before they are handed out.

    Only a redelivered message can have records, so a message without a crash costs nothing here. Calls ``on_done`` when
    all are done, with the error of a failed one, or None.
    """

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
        found = await count(connection, self._queue, message, known)
        received.attempt += found
        names = (name_of(self._queue, message, known + number) for number in range(1, found + 1))
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
