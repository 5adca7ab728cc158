"""TwinTransactions: transactions of a twin's handlers, whose messages and acks take effect with the commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tasuki.contracts.driver import Answers, Driver, Outgoing, Settlement
from tasuki.contracts.within import settled_too_late
from tasuki.testing.transactions import on_connection


class TwinConnection:
    """The connection of a transaction for which the handler gave none: a twin has no database."""


@dataclass
class _Open:
    loop: asyncio.AbstractEventLoop
    published: list[tuple[str, Sequence[Outgoing]]] = field(default_factory=list)
    settled: list[tuple[str, Sequence[Settlement]]] = field(default_factory=list)
    remembered: dict[tuple[str, str], tuple[float, bytes]] = field(default_factory=dict)


class TwinTransactions(Driver):
    """The verbs in a transaction; outside of one of a handler's, a publish counts at once."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._transactions: dict[int, _Open] = {}
        self._inbox: dict[tuple[str, str], tuple[float, bytes]] = {}
        """By consumer and key: when it is forgotten, by the clock of the loop, and the result."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Publish with the commit."""
        opened = self._transactions.get(id(connection))
        if opened is None:
            return await self.publish(queue, batch)
        opened.published.append((queue, batch))
        return ()

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        """Settle with the commit, which a stale receipt undoes."""
        self._transactions[id(connection)].settled.append((queue, batch))

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        """Claim a key with the commit."""
        opened = self._transactions[id(connection)]
        until, result = self._inbox.get((consumer, key), (0.0, b""))
        if until > opened.loop.time():
            return result
        opened.remembered[consumer, key] = (opened.loop.time() + ttl, b"")
        return None

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        """Remember a result with the commit."""
        remembered = self._transactions[id(connection)].remembered
        remembered[consumer, key] = (remembered[consumer, key][0], result)

    @asynccontextmanager
    async def transaction(self, connection: Any = None, *, sync: bool = False) -> AsyncIterator[Any]:
        """On the handler's connection, or a :class:`TwinConnection`."""
        if not sync:
            self._loop = asyncio.get_running_loop()
        assert self._loop is not None
        async with on_connection(TwinConnection() if connection is None else connection) as given:
            opened = self._transactions[id(given)] = _Open(self._loop)
            try:
                yield given
            finally:
                del self._transactions[id(given)]
            if sync:
                asyncio.run_coroutine_threadsafe(self._commit(opened), self._loop).result()
            else:
                await self._commit(opened)

    async def _commit(self, opened: _Open) -> None:
        for queue, settlements in opened.settled:
            if await self.settle(queue, settlements):
                raise settled_too_late(self.name, queue)
        for queue, batch in opened.published:
            await self.publish(queue, batch)
        self._inbox.update(opened.remembered)
