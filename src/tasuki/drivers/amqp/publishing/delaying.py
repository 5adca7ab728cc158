"""Delaying: where this process publishes its delayed messages, and which delay queues it has made sure of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.existing import are_there
from tasuki.drivers.amqp.protocol.tables import decode_properties
from tasuki.drivers.amqp.publishing import delay_queues
from tasuki.drivers.amqp.publishing.delay_queues import SHARDS, Way
from tasuki.drivers.amqp.topology.queue_arguments import returned_name

_SHARE = 256
"""Messages of one delay queue that are due in the same second; the next ones go to its next shard."""
_MOST_SECONDS = 10_000
_AT_ONCE = 50
"""Queues, exchanges and bindings that are made together; each stays noted if a later one fails."""


class Delayed(NamedTuple):
    """A delayed message's target, way and shard."""

    target: str
    way: Way
    shard: int

    @property
    def exchange(self) -> str:
        """Exchange to publish it to."""
        return delay_queues.entry(self.shard)

    def mark(self, properties: bytes) -> bytes:
        """Add its way to its properties."""
        found = decode_properties(properties)
        found.table += delay_queues.header(self.way.times)
        found.texts["expiration"] = b"%d" % self.way.wait
        return found.encode()


class Delaying:
    """Chooses shards, and makes the delay queues and bindings that are not there yet.

    Few messages stay in the first shard, which keeps them in order; many that are due together spread over all.
    """

    def __init__(self) -> None:
        self._due: dict[tuple[int, int], int] = {}
        """How many messages this process has put off until each second, by their last delay queue."""
        self._made: set[tuple[object, ...]] = set()
        self._making = asyncio.Lock()

    def place(self, target: str, delay: float, priority: int = 0) -> Delayed:
        """Choose the way of one message."""
        way = delay_queues.way(delay)
        due = (int(time.monotonic() + delay), way.times[-1])
        number = self._due.get(due, 0)
        if not number and len(self._due) >= _MOST_SECONDS:
            self._forget_past()
        self._due[due] = number + 1
        first = SHARDS if priority >= delay_queues.HIGH else 0
        return Delayed(target, way, first + number // _SHARE % SHARDS)

    def _forget_past(self) -> None:
        now = int(time.monotonic())
        self._due = {due: number for due, number in self._due.items() if due[0] >= now}
        if len(self._due) >= _MOST_SECONDS:
            self._due = {}  # delays over so many seconds are no burst

    def forget(self) -> None:
        """Make everything again: the broker has lost some of it."""
        self._made = set()

    async def check(self, connection: Connection) -> None:
        """Make everything again if the broker has lost all. Raises ClosedError or LateError.

        Not in any case: while a node of a cluster is frozen, the broker answers no change of bindings.
        """
        last_exchange = commands.Exchange.Declare(exchange=delay_queues.NAME, passive=True)
        if self._made and not await are_there(connection, last_exchange):
            self.forget()

    def forget_target(self, queue: str) -> None:
        """Bind a queue again for its next delayed message."""
        self._made -= {("target", queue), ("target", returned_name(queue))}

    async def prepare(self, connection: Connection, messages: Sequence[Delayed]) -> None:
        """Make the delay queues that these messages pass. Raises ClosedError or LateError."""
        if self._is_made(messages):
            return
        async with self._making:
            missing = {key: methods for key, methods in self._needed(messages) if key not in self._made}
            left = list(missing)
            if not left:
                return
            async with connection.borrow() as channel:
                while left:
                    some, left = left[:_AT_ONCE], left[_AT_ONCE:]
                    await channel.ask(*(method for key in some for method in missing[key]))
                    self._made.update(some)

    def _is_made(self, messages: Sequence[Delayed]) -> bool:
        made = self._made
        return all((each.shard, each.way.times) in made and ("target", each.target) in made for each in messages)

    def _needed(self, messages: Sequence[Delayed]) -> Iterator[tuple[tuple[object, ...], list[Method]]]:
        """What these messages need, each with its key, in the order in which it can be made."""
        yield ("last",), delay_queues.last_exchange()
        for queue in {each.target for each in messages}:
            yield ("target", queue), [delay_queues.mark(queue), delay_queues.target_binding(queue)]
        for shard, times in {(each.shard, each.way.times) for each in messages}:
            for lower in range(shard - shard % SHARDS, shard + 1):  # a sweep looks for them from the first one up
                yield ("entry", lower), [delay_queues.entry_exchange(lower)]
                for index in times:
                    yield ("time", index, lower), delay_queues.delay_queue(index, lower)
            for hop in delay_queues.hops(times):
                yield (shard, *hop), [delay_queues.link(hop, shard)]
            yield (shard, times), []
