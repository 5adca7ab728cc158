"""Silent: messages that come again as they were not renewed, while their last holder may live (ADR 63)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.contracts.driver import SILENCE
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.receiving.held import Table
from tasuki.drivers.nats.receiving.parsed_delivery import ParsedDelivery
from tasuki.drivers.nats.receiving.settling import confirmed, nak
from tasuki.drivers.nats.records.lines import Lines

_AGAIN = 2.0
"""Seconds after which the server delivers one again that another process may hold."""


class Silent:
    """Of one queue."""

    def __init__(self, lines: Lines, queue: str, table: Table) -> None:
        self._lines = lines
        self._queue = queue
        self._table = table
        self._since: dict[int, float] = {}
        """When a message first came that another process may hold (loop time)."""

    async def free(self, connection: Connection, items: Sequence[ParsedDelivery]) -> list[ParsedDelivery]:
        """Those that may be handed over; the others are put off, until the rest of their lease is over.

        They get no note: the records say of it what they said, and a settlement of the last holder is good.
        """
        lapsed = [item.arrival.parts.sequence for item in items if item.has_lapsed]
        rest = self._table.lease - SILENCE
        if not lapsed or rest <= 0:
            return list(items)
        now = asyncio.get_running_loop().time()
        kept = await self._lines.kept(connection, self._queue, lapsed)
        self._since = {each: since for each, since in self._since.items() if now - since < 2 * self._table.lease}
        kept = {each for each in kept if now - self._since.setdefault(each, now) < rest}
        await confirmed(connection, [item.sign(nak(_AGAIN)) for item in items if item.arrival.parts.sequence in kept])
        return [item for item in items if item.arrival.parts.sequence not in kept]
