"""Work beside the application's loop: any driver on a thread with its own loop, and a thread that keeps leases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from tasuki.contracts.driver import (
    Answers,
    Causes,
    Depth,
    Driver,
    Durability,
    Kept,
    Move,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
    Transfer,
    Where,
)
from tasuki.drivers.toolkit.guard import Guard
from tasuki.errors import BrokerUnavailableError, DriverError, Outcome
from tasuki.message import Message
from tasuki.system.loop_thread import LoopThread
from tasuki.system.tasks import OnFailure


class Closable(Protocol):
    """What its own thread has, to reach the broker."""

    async def close(self) -> None:
        """Disconnect."""


C = TypeVar("C", bound=Closable)


T = TypeVar("T")


class LeaseThread(Generic[C]):
    """A thread with a loop and its own connection; the first work starts it, and makes the connection.

    If its loop fails, the next one has a new connection. ``make`` is called on the thread.
    """

    def __init__(self, driver: str, make: Callable[[], C]) -> None:
        self._driver = driver
        self._make = make
        self._connection: C | None = None
        self.open()

    def open(self) -> None:
        """Accept work, after a close too; what a forked child inherits is left alone."""
        self._connection = None
        self._thread = LoopThread(f"tasuki leases of {self._driver}", self._error, let_go=self._disconnect)

    async def run(self, work: Callable[[C], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work`` with the connection, on the thread; from any loop.

        Raises:
            BrokerUnavailableError: it is closed; the thread cannot start, or failed.
            Exception: what ``work`` raises.
        """
        return await self._thread.call(lambda: work(self._connected()))

    async def close(self) -> None:
        """Disconnect, and end the thread; what runs there is cancelled. Idempotent."""
        await self._thread.close(self._disconnect)

    def _connected(self) -> C:
        if self._connection is None:
            self._connection = self._make()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _error(self, problem: str, is_begun: bool) -> BrokerUnavailableError:
        outcome: Outcome = "unknown" if is_begun else "rejected"
        return BrokerUnavailableError(problem, driver=self._driver, outcome=outcome)


_LETTING_GO = 1.0
"""Seconds to close open drivers on a loop that ends, or has failed."""


class Threaded(Driver):
    """Gives every verb to an inner driver on a private thread, which lives from ``open`` to ``close``.

    A call that is cancelled loses nothing: what a receive took anyway is released; a settlement, a purge and a
    delete are carried out.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Claim nothing for the verbs here: the inner driver does."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner.name)
        # A transaction of the caller's stays on the caller's loop, and a watch on its reader's loop.
        self.capabilities = inner.capabilities.without("publish_within", "settle_within", "store")  # type: ignore[misc]
        self._inner = inner
        self._specs: dict[str, QueueSpec] = {}
        self._guard: Guard[LoopThread] = Guard(inner.name)
        self._closing: asyncio.Task[None] | None = None

    @property
    def durability(self) -> Durability:
        return self._inner.durability

    def durability_of(self, queue: str) -> Durability:
        return self._inner.durability_of(queue)

    @property
    def patience(self) -> float | None:
        return self._inner.patience

    @property
    def refusal(self) -> str | None:
        return self._inner.refusal

    async def open(self) -> None:
        """Start the thread, and open the inner driver there."""
        async with self._guard.changing():
            if self._guard.current is not None:
                return
            name = f"tasuki {self.name}"
            loop = LoopThread(name, self._error, begin_again=self._reopen, let_go=self._let_go)
            self._guard.opened(loop)

            def undo() -> None:
                self._guard.closed(loop)
                loop.stop()
                loop.join()

            with OnFailure(undo):
                await loop.call(self._open)

    async def _open(self) -> None:
        for spec in self._specs.values():
            await self._inner.declare(spec)
        await self._inner.open()

    async def _let_go(self) -> None:
        """Close the drivers that the loop leaves open, so that the broker returns held messages at once."""
        with suppress(Exception):
            async with asyncio.timeout(_LETTING_GO):
                await self._inner.close()

    async def _reopen(self) -> None:
        """On a new loop."""
        await self._let_go()  # where the old one could not
        await self._open()

    async def close(self) -> None:
        """Close the inner driver, and end its thread; it goes on to its end if the caller is cancelled."""
        self._closing = asyncio.get_running_loop().create_task(self._close(), name="close driver")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        async with self._guard.changing():
            loop = self._guard.current
            self._guard.closed()
            if loop is not None:
                await loop.close(self._inner.close)

    async def time(self) -> float | None:
        return await self._guard.get().call(self._inner.time)

    async def declare(self, spec: QueueSpec) -> None:
        """See Driver; before ``open`` it is noted."""
        loop = self._guard.current
        if loop is not None:
            await loop.call(lambda: self._inner.declare(spec))
        self._specs[spec.name] = spec

    async def undeclare(self, queue: str) -> None:
        self._specs.pop(queue, None)
        loop = self._guard.current
        if loop is not None:
            await loop.call(lambda: self._inner.undeclare(queue), is_whole=True)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return await self._guard.get(spec.name).call(lambda: self._inner.inspect(spec))

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        messages = list(batch)
        return await self._guard.get(queue).call(lambda: self._inner.publish(queue, messages))

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:

        async def give_back(received: list[Received]) -> None:
            if received:
                await self._inner.settle(queue, [Release(delivery.receipt) for delivery in received])

        return await self._guard.get(queue).call(lambda: self._inner.receive(queue, limit, wait), give_back)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        receipts = list(batch)
        return await self._guard.get(queue).call(lambda: self._inner.start(queue, receipts), is_whole=True)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        settlements = list(batch)
        return await self._guard.get(queue).call(lambda: self._inner.settle(queue, settlements), is_whole=True)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """See Driver; called from any loop."""
        receipts = list(batch)
        return await self._guard.get(queue).call(lambda: self._inner.extend(queue, receipts, lease))

    async def depth(self, queue: str) -> Depth:
        return await self._guard.get(queue).call(lambda: self._inner.depth(queue))

    def kept(self, queue: str) -> Kept | None:
        return self._inner.kept(queue)

    async def occupancy(self, queue: str) -> Occupancy:
        return await self._guard.get(queue).call(lambda: self._inner.occupancy(queue))

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        return await self._guard.get(queue).call(lambda: self._inner.peek(queue, limit, after))

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        wanted = list(ids)
        return await self._guard.get(queue).call(lambda: self._inner.find(queue, wanted))

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        wanted = list(ids)
        return await self._guard.get(queue).call(lambda: self._inner.locate(queue, wanted))

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        wanted = list(also)
        return await self._guard.get(queue).call(lambda: self._inner.causes(queue, most, wanted))

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        return await self._guard.get(queue).call(
            lambda: self._inner.peek_cause(queue, cause, limit, after, newest_first=newest_first)
        )

    def is_move_atomic(self, queue: str, to: str) -> bool:
        return self._inner.is_move_atomic(queue, to)

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        """See Driver."""
        return self._inner.counts_releases(queue, receipt)

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        moves = list(batch)
        return await self._guard.get(queue).call(lambda: self._inner.move(queue, moves), is_whole=True)

    async def purge(self, queue: str) -> int:
        return await self._guard.get(queue).call(lambda: self._inner.purge(queue), is_whole=True)

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        return await self._guard.get(queue).call(lambda: self._inner.remove(queue, ids, places), is_whole=True)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        return await self._guard.get(queue).call(lambda: self._inner.expedite(queue, ids))

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        transfers = list(batch)
        return await self._guard.get(queue).call(lambda: self._inner.transfer(queue, transfers), is_whole=True)

    def can_transfer(self, queue: str, to: str) -> bool:
        return self._inner.can_transfer(queue, to)

    async def delete(self, queue: str) -> None:
        await self._guard.get(queue).call(lambda: self._inner.delete(queue), is_whole=True)
        self._specs.pop(queue, None)

    def _error(self, problem: str, is_begun: bool) -> BrokerUnavailableError:
        outcome: Outcome = "unknown" if is_begun else "rejected"
        return BrokerUnavailableError(problem, driver=self.name, outcome=outcome)
