"""TwinTransactions: transactions of a twin's handlers, whose messages and acks take effect with the commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tasuki.contracts.driver import Answers, Merged, Outgoing, Receipt, Settlement
from tasuki.contracts.groups import settled_too_late
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.toolkit.results import answer
from tasuki.errors import ConflictError, DriverError, KeyBusyError
from tasuki.testing.transactions import on_connection

_CLAIM_WAIT = 5.0
"""Seconds of real time that a claim waits for the transaction that has its key."""

Claim = tuple[str, str]
"""A consumer and a key of its idempotency."""


class TwinConnection:
    """The connection of a transaction for which the handler gave none: a twin has no database."""


@dataclass
class _Open:
    loop: asyncio.AbstractEventLoop
    is_sync: bool
    is_given: bool
    """The connection is the handler's."""
    published: list[tuple[str, Sequence[Outgoing]]] = field(default_factory=list)
    settled: list[tuple[str, Sequence[Settlement]]] = field(default_factory=list)
    remembered: dict[Claim, tuple[float, bytes]] = field(default_factory=dict)
    undone: DriverError | None = None
    """Why it cannot be committed."""

    def published_to(self, queue: str) -> list[Outgoing]:
        return [message for name, batch in self.published if name == queue for message in batch]

    def receipts(self, queue: str) -> set[Receipt]:
        return {each.receipt for name, batch in self.settled if name == queue for each in batch}


class TwinTransactions(MemoryDriver):
    """The verbs in a transaction; outside of one of a handler's, a publish counts at once."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._transactions: dict[int, _Open] = {}
        self._inbox: dict[Claim, tuple[float, bytes]] = {}
        """When each key is forgotten, by the clock, and the result."""
        self._claims: dict[Claim, Future[None]] = {}
        """The keys of open transactions; done when the transaction ends."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def _publish_each(self, target: MemoryQueue, batch: Sequence[Outgoing], now: float) -> Answers:
        """As the memory driver; a key that an open transaction keeps is busy for all others."""
        busy = {
            message.unique.key
            for opened in self._transactions.values()
            for message in opened.published_to(target.spec.name)
            if message.unique is not None
        }
        if not busy:
            return super()._publish_each(target, batch, now)
        answers: list[DriverError | Merged | None] = []
        for message in batch:
            if message.unique is not None and message.unique.key in busy:
                problem = f"an open transaction keeps the unique key {message.unique.key!r}"
                answers.append(KeyBusyError(problem, driver=self.name, queue=target.spec.name))
            else:
                answers.append(next(iter(super()._publish_each(target, (message,), now)), None))
        return answer(answers)

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Publish with the commit; each message is answered now, and refused if its queue is full."""
        opened = self._transactions.get(id(connection))
        if opened is None:
            return await self.publish(queue, batch)
        target, pending = self._queue(queue), opened.published_to(queue)
        answers: list[DriverError | Merged | None] = []
        for message in batch:
            told = self._told(target, pending, message)
            answers.append(told)
            if told is None or (isinstance(told, Merged) and told.how != "kept"):
                pending.append(message)
                opened.published.append((queue, (message,)))
        return answer(answers)

    def _told(self, target: MemoryQueue, pending: Sequence[Outgoing], message: Outgoing) -> DriverError | Merged | None:
        """The answer for a message of a transaction that is to publish the pending ones to the same queue."""
        if (unique := message.unique) is not None:
            for other in pending:
                if other.unique is not None and other.unique.key == unique.key:
                    return Merged("kept", other.id)
            if (slot := target.uniques.holder(unique, self._clock.monotonic())) is not None:
                is_kept = unique.act == "keep" or not target.uniques.is_waiting(unique)
                return Merged("kept" if is_kept else "replaced" if unique.act == "replace" else "extended", slot.id)
        fits = target.fits([*pending, message], self._clock.monotonic())
        return None if fits else self._full(target)

    async def hold_within(self, connection: Any, queue: str, batch: Sequence[Receipt], *, settles: bool = True) -> None:
        """Look whether they are held."""
        held = self._held(queue).held
        if not settles and not all(each in held for each in batch):
            opened = self._transactions[id(connection)]
            opened.undone = settled_too_late(self.name, queue)
            raise opened.undone

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        """Settle with the commit. A stale receipt undoes the transaction, here or at the commit."""
        opened, held = self._transactions[id(connection)], self._held(queue).held
        for settlement in batch:
            if settlement.receipt not in held or settlement.receipt in opened.receipts(queue):
                opened.undone = settled_too_late(self.name, queue)
                raise opened.undone
            opened.settled.append((queue, (settlement,)))

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        """Claim a key with the commit, once no other open transaction has it."""
        opened, claim = self._transactions[id(connection)], (consumer, key)
        while claim in self._claims and claim not in opened.remembered:
            await self._until_free(opened, claim)
        until, result = self._inbox.get(claim, (0.0, b""))
        if until > self._clock.monotonic():
            return result
        self._claims.setdefault(claim, Future())
        opened.remembered[claim] = (self._clock.monotonic() + ttl, b"")
        return None

    async def _until_free(self, opened: _Open, claim: Claim) -> None:
        ended = self._claims[claim]
        try:
            if opened.is_sync:
                ended.result(_CLAIM_WAIT)
            else:
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(ended)), _CLAIM_WAIT)
        except TimeoutError:
            problem = f"driver {self.name!r}: another transaction that claims the key {claim[1]!r} stays open"
            raise ConflictError(problem, driver=self.name) from None

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
        opened = _Open(self._loop, sync, connection is not None)
        try:
            async with self._block(connection) as given:
                self._transactions[id(given)] = opened
                try:
                    yield given
                finally:
                    del self._transactions[id(given)]
                self._check(opened)
            if sync:
                asyncio.run_coroutine_threadsafe(self._commit(opened), self._loop).result()
            else:
                await self._commit(opened)
        finally:
            for claim in opened.remembered:
                self._claims.pop(claim).set_result(None)

    def _block(self, connection: Any) -> AbstractAsyncContextManager[Any]:
        return on_connection(TwinConnection() if connection is None else connection)

    def _check(self, opened: _Open) -> None:
        """Raise what keeps a transaction from being committed: another one may have been quicker."""
        if opened.undone is not None:
            raise opened.undone
        for queue in {queue for queue, _ in opened.settled}:
            if not opened.receipts(queue) <= self._held(queue).held.keys():
                raise settled_too_late(self.name, queue)
        for queue in {queue for queue, _ in opened.published}:
            target = self._queue(queue)
            if not target.fits(opened.published_to(queue), self._clock.monotonic()):
                raise self._full(target)

    async def _commit(self, opened: _Open) -> None:
        for queue, settlements in opened.settled:
            if await self.settle(queue, settlements):
                raise settled_too_late(self.name, queue)
        for queue, batch in opened.published:
            await self.publish(queue, batch)
        self._inbox.update(opened.remembered)
