"""Publishers and consumers of a PostgreSQL driver that go on through faults, and notice lost messages."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from tasuki.contracts.driver import Ack, Depth, Outgoing
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.errors import DriverError

PATIENCE = 30.0

T = TypeVar("T")


def message(id: str = "m", body: bytes = b"body", **options: Any) -> Outgoing:
    return Outgoing(id, body, {}, **options)


async def eventually(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look until it is true; an unavailable broker is not."""
    ends_at = time.monotonic() + PATIENCE
    while True:
        try:
            if value := await look():
                return value
        except DriverError:
            pass
        assert time.monotonic() < ends_at, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


async def past_deadlocks(change: Callable[[], Awaitable[T]]) -> T:
    """Make an administrator's change of a schema beside open drivers; again after each deadlock.

    It locks tables in another order than the verbs and the sweeps of drivers, which may be under way.
    """
    while True:
        with suppress(asyncpg.DeadlockDetectedError):
            return await change()


class Load:
    """Publishers and consumers that try again, until the block ends; then all that was confirmed must have come."""

    def __init__(self, driver: PostgresDriver) -> None:
        self._driver = driver
        self.confirmed: list[str] = []
        self.doubtful: set[str] = set()
        self.came: set[str] = set()
        self.acked: Counter[str] = Counter()
        self.final: list[DriverError] = []
        """Errors after which a consumer or a publisher would give up."""
        self._over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            publishers = [group.create_task(self._publish(number)) for number in range(3)]
            consumers = [group.create_task(self._consume()) for _ in range(2)]
            yield
            self._over = True
            await asyncio.gather(*publishers)
            await eventually(self._is_empty, "the end of the queue")
            for consumer in consumers:
                consumer.cancel()

    async def some(self) -> None:
        """Wait until more has been confirmed."""
        wanted = len(self.confirmed) + 10
        await eventually(lambda: more(self.confirmed, wanted), "some load")

    async def _is_empty(self) -> bool:
        depth = await self._driver.depth("q")
        return depth == Depth(0, 0, 0, None)

    async def _publish(self, publisher: int) -> None:
        for number in itertools.count():
            if self._over:
                return
            id = f"{publisher}-{number}"
            try:
                assert not any(await self._driver.publish("q", [message(id)]))
                self.confirmed.append(id)
            except DriverError as error:
                if error.outcome == "unknown":
                    self.doubtful.add(id)
                self._note(error)
                await asyncio.sleep(0.005)
            await asyncio.sleep(0)

    async def _consume(self) -> None:
        while True:
            try:
                got = await self._driver.receive("q", 20, 0.5)
                self.came.update(item.id for item in got)
                stale = await self._driver.settle("q", [Ack(item.receipt) for item in got]) if got else ()
            except DriverError as error:
                self._note(error)
                await asyncio.sleep(0.005)
                continue
            self.acked.update(item.id for item in got if item.receipt not in stale)
            await asyncio.sleep(0)

    def _note(self, error: DriverError) -> None:
        if not error.retryable:
            self.final.append(error)

    def check(self) -> None:
        """No confirmed message is missing, no refused one came, and no client gave up."""
        assert self.final == []
        assert len(self.confirmed) > 20
        assert set(self.confirmed) <= self.came <= {*self.confirmed, *self.doubtful}
        assert max(self.acked.values()) == 1


async def more(items: list[str], number: int) -> bool:
    """Whether there are this many."""
    return len(items) >= number


def address(port: int, user: str = "postgres", database: str = "postgres") -> str:
    return f"postgresql://{user}@127.0.0.1:{port}/{database}"


async def hears(driver: PostgresDriver) -> bool:
    return driver._guard.current is not None and driver._guard.current.hears
