"""Marks: exchanges that say which queues may have lanes of priorities or keys, beyond those that a process declares.

A process that declares a queue without them finds the lanes that an earlier declaration has made, for they may hold
messages. To look for a queue that is not there costs the broker a channel, and a line in its log. So who makes such
lanes first makes two marks: one for all queues, and one for a share of all names. Where one of them is not there, no
lanes are looked for.

Exchanges, because one is declared once however often it is asked for, and costs the broker no process. Marks stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from zlib import crc32

from pamqp import commands

from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.existing import are_there
from tasuki.drivers.amqp.topology.queue_arguments import Kind, Lane, further_lanes

NAME = "tasuki.lanes"
SHARES = 64
"""Into how many shares the names of queues are divided: where some queues have such lanes, few others look for them."""


def mark_names(queue: str, kind: Kind) -> tuple[str, str]:
    """The exchanges that say so of a queue, and of others; the same in every process."""
    everywhere = f"{NAME}.{kind}"
    return everywhere, f"{everywhere}.{crc32(queue.encode()) % SHARES}"


class Marks:
    """Those that one driver has asked for."""

    def __init__(self) -> None:
        self._present: set[str] = set()
        self._absent: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        self._users = 0

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Ask for an absent mark once in all such blocks that overlap, as at the start of many queues."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._absent.clear()

    def make(self, queue: str, lanes: Sequence[Lane]) -> list[commands.Exchange.Declare]:
        """What makes the marks of a queue with these lanes; to be sent before the lanes are made."""
        names = [name for kind in further_lanes(queue, lanes) for name in mark_names(queue, kind)]
        self._present.update(names)
        return [commands.Exchange.Declare(exchange=name, exchange_type="fanout", durable=True) for name in names]

    async def has(self, connection: Connection, queue: str, kind: Kind) -> bool:
        """Whether a queue may have lanes of a kind. Raises ClosedError or LateError."""
        everywhere, share = mark_names(queue, kind)
        return await self._is_present(connection, everywhere) and await self._is_present(connection, share)

    async def _is_present(self, connection: Connection, name: str) -> bool:
        async with self._turns.setdefault(name, asyncio.Lock()):
            if name not in self._present and name not in self._absent:
                is_there = await are_there(connection, commands.Exchange.Declare(exchange=name, passive=True))
                (self._present if is_there else self._absent).add(name)
        return name in self._present
