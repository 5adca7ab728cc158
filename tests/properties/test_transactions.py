"""Handlers in a transaction, killed at every await: on SQLite, with and without a key; and keys without a transaction.

A kill is an exception at a call of the driver or the store, after which all further calls fail too: so nothing that the
process would still do happens, but for the rollback that the end of its connection is.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.idempotency import rule_of
from tasuki.consumers.jobs.handler_transaction import Transacting
from tasuki.consumers.jobs.idempotent import Once
from tasuki.consumers.jobs.timeouts import OffClock
from tasuki.contracts.driver import Ack, Driver, Outgoing, QueueSpec
from tasuki.contracts.handler import Context, Snooze
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import StaleReceiptError
from tasuki.queues.messages.codec import JSON, Codecs
from tasuki.state.shared import SharedState
from tasuki.testing.conformance.clock import ShiftedClock
from tests.support.narrow import present
from tests.support.settings import parsed

LEASE = 5.0
MOST = 60
"""More awaits than a delivery has."""


class KilledError(BaseException):
    """The process ends here."""


class Process:
    """Counts the awaits of one worker process; it is killed at one of them."""

    def __init__(self, kill_at: int) -> None:
        self._left = kill_at
        self.is_dead = False

    def point(self) -> None:
        if self._left == 0:
            self.is_dead = True
        if self.is_dead:
            raise KilledError
        self._left -= 1


class Dying:
    """A driver or store whose verbs end with their process."""

    def __init__(self, inner: Any, process: Process) -> None:
        self._inner, self._process = inner, process

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name == "transaction":
            return self._transaction
        if not asyncio.iscoroutinefunction(value):
            return value

        async def verb(*args: Any, **options: Any) -> Any:
            self._process.point()
            result = await value(*args, **options)
            self._process.point()
            return result

        return verb

    @asynccontextmanager
    async def _transaction(self, connection: Any, *, sync: bool) -> AsyncIterator[Any]:
        self._process.point()
        async with self._inner.transaction(connection, sync=sync) as opened:
            self._process.point()
            yield opened
            self._process.point()
        self._process.point()


class World:
    """One queue with one message, or two of a key, and what their handlers did."""

    def __init__(self, driver: Driver, clock: ShiftedClock, place: Path | None) -> None:
        self.driver, self.clock, self.place = driver, clock, place
        self.begun: list[str] = []
        self.effects: list[str] = []
        """Without a database."""
        self.repeated_after_record = 0
        self.state = SharedState(driver, "state", clock)

    async def deliver(self, kill_at: int, *, has_key: bool, handle: Callable[[Context], Awaitable[Any]]) -> bool:
        """Receive one message and handle it, as its own process; whether it was acked."""
        got = await self.driver.receive("jobs", 1, 0.0)
        if not got:
            return False
        process = Process(kill_at)
        driver: Any = Dying(self.driver, process)
        acked: list[Any] = []
        holder: Any = SimpleNamespace(
            thread=threading.get_ident(), loop=asyncio.get_running_loop(), drop=lambda delivery: None,
            settle=lambda delivery, verdict: acked.append(verdict), results=None, policy=None, function_id="app:f",
            id="app:c", queue_id="app:jobs",
        )  # fmt: skip
        queue = SimpleNamespace(
            id="app:jobs", driver=driver, spec=QueueSpec("jobs", lease=LEASE), codec=present(Codecs().get(JSON))
        )
        options = SimpleNamespace(auto_ack=False, batch=None, idempotency={None: rule_of("header.order", 600.0)})
        consumer: Any = SimpleNamespace(id="app:c", queue=queue, options=options, clock=self.clock, keeper=None)
        settler = SimpleNamespace(flush=None, on_settled=None)
        pool: Any = SimpleNamespace(workers=[])
        off_clock = OffClock(SimpleNamespace(pool=pool), self.clock.monotonic)
        holder.transacting = transacting = Transacting(SimpleNamespace(settler=settler), consumer, off_clock)
        delivery = Delivery(got[0], holder, float("inf"))
        context = Context(delivery, delivery, self.reach(driver))
        alone = SimpleNamespace(capabilities=SimpleNamespace(multi_process=False))
        state: Any = SimpleNamespace(store=self._store_of(process), clock=self.clock, driver=alone, opened=None)

        async def inner(body: Any, context: Context) -> Any:
            self.begun.append(got[0].id)
            return await handle(context)

        once = Once(consumer, state, transacting, off_clock)
        try:
            await (once.layer(None, context, inner) if has_key else inner(None, context))
            if not delivery.settled:
                process.point()
                await driver.settle("jobs", [Ack(got[0].receipt)])
        except KilledError:
            self.clock.advance(LEASE * 2)  # its leases and its claim end
            if not self.driver.capabilities.has("leases"):
                await self.driver.close()
                await self.driver.open()
                self.state = SharedState(self.driver, "state", self.clock)
            return False
        except Snooze:
            await self.driver.settle("jobs", [Ack(got[0].receipt)])
            raise
        return True

    def _store_of(self, process: Process) -> Callable[[], Awaitable[Any]]:
        async def store() -> Any:
            return Dying(await self.state.store(), process)

        return store

    @staticmethod
    def reach(driver: Any) -> Any:
        async def publish(queue: str, body: Any, headers: Any, options: Any) -> str:
            await driver.publish_within(options["connection"], queue, [Outgoing(body, b"", {})])
            return str(body)

        return SimpleNamespace(publish=publish)

    def rows(self) -> list[str]:
        with closing(sqlite3.connect(present(self.place))) as connection:
            return [what for (what,) in connection.execute("SELECT what FROM effects")]


@asynccontextmanager
async def on_sqlite(folder: Path) -> AsyncIterator[World]:
    clock, place = ShiftedClock(), folder / "queue.db"
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=place, synchronous="normal"), clock)
    await driver.open()
    try:
        for name in ("jobs", "after"):
            await driver.declare(QueueSpec(name, lease=LEASE))
        async with driver.transaction() as connection:
            connection.execute("CREATE TABLE effects (what text)")
        yield World(driver, clock, place)
    finally:
        await driver.close()


async def in_transaction(context: Context) -> str:
    """The handler: a row, a message, and something to remember."""
    id = present(context.message).id
    async with context.transaction() as tx:
        tx.connection.execute("INSERT INTO effects VALUES (?)", (id,))
        await tx.publish("after", f"after {id}")
        tx.remember("remembered")
    return "returned"


@pytest.mark.parametrize("has_key", [False, True], ids=["message", "key"])
def test_a_kill_at_each_await_of_a_transaction(tmp_path: Path, has_key: bool) -> None:
    async def run() -> int:
        for kill_at in range(MOST):
            folder = tmp_path / f"{kill_at}"
            folder.mkdir()
            async with on_sqlite(folder) as world:
                await world.driver.publish("jobs", [Outgoing("a", b"", {"order": "x"})])
                was_killed = not await world.deliver(kill_at, has_key=has_key, handle=in_transaction)
                for _ in itertools.repeat(None, 3):
                    await world.deliver(MOST * 2, has_key=has_key, handle=in_transaction)
                assert world.rows() == ["a"], f"killed at {kill_at}"
                assert len(await world.driver.receive("after", 10, 0.0)) == 1, f"killed at {kill_at}"
                depth = await world.driver.depth("jobs")
                assert (depth.ready, depth.in_flight) == (0, 0), f"killed at {kill_at}"
                if has_key:  # another message of the key has no effect
                    await world.driver.publish("jobs", [Outgoing("b", b"", {"order": "x"})])
                    assert await world.deliver(MOST * 2, has_key=True, handle=in_transaction)
                    assert world.rows() == ["a"], f"killed at {kill_at}"
            if not was_killed:
                return kill_at
        raise AssertionError("it has more awaits than MOST")

    points = asyncio.run(run())
    assert points >= (16 if has_key else 8), "the kills have met what they are for"


def test_a_late_worker_commits_nothing(tmp_path: Path) -> None:
    """Its lease has ended in the block, and another one has committed."""

    async def run() -> None:
        async with on_sqlite(tmp_path) as world:
            await world.driver.publish("jobs", [Outgoing("a", b"", {"order": "x"})])

            async def late(context: Context) -> str:
                world.clock.advance(LEASE * 2)
                assert await world.deliver(MOST * 2, has_key=False, handle=in_transaction)
                return await in_transaction(context)

            with pytest.raises(StaleReceiptError):
                await world.deliver(MOST * 2, has_key=False, handle=late)
            assert world.rows() == ["a"]

    asyncio.run(run())


def test_a_kill_at_each_await_of_a_key_without_a_transaction() -> None:
    async def run() -> int:
        for kill_at in range(MOST):
            clock = ShiftedClock()
            driver = MemoryDriver("memory", clock=clock)
            await driver.open()
            await driver.declare(QueueSpec("jobs", lease=LEASE))
            world = World(driver, clock, None)
            await driver.publish("jobs", [Outgoing("a", b"", {"order": "x"})])

            async def handle(context: Context, world: World = world) -> str:
                world.effects.append(present(context.message).id)
                return "returned"

            was_killed = not await world.deliver(kill_at, has_key=True, handle=handle)
            is_recorded = await _is_recorded(world)
            before = len(world.effects)
            for _ in itertools.repeat(None, 3):
                await world.deliver(MOST * 2, has_key=True, handle=handle)
            await driver.publish("jobs", [Outgoing("b", b"", {"order": "x"})])
            assert await world.deliver(MOST * 2, has_key=True, handle=handle)
            assert 1 <= len(world.effects) <= 2, f"killed at {kill_at}"
            assert not is_recorded or len(world.effects) == before, f"done again after its record, killed at {kill_at}"
            assert "b" not in world.effects
            await driver.close()
            if not was_killed:
                return kill_at
        raise AssertionError("it has more awaits than MOST")

    assert asyncio.run(run()) > 6


async def _is_recorded(world: World) -> bool:
    from tasuki.consumers.handling.idempotency import decode

    page = await (await world.state.store()).list("once/")
    return any(decode(entry.value).is_done for entry in page.entries)
