"""A NATS server of a test's own with a proxy before it, drivers for both, and a way to change things at the server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.testing.proxy import Proxy
from tests.support.brokers.nats import NATSBroker
from tests.support.settings import parsed

PATIENCE = 60.0
"""Seconds within which an event comes, on a very busy machine too."""
QUEUE = "tasks"


class Site:
    """``driver`` stands behind the proxy, ``direct`` speaks to the server itself."""

    def __init__(self, broker: NATSBroker, stack: AsyncExitStack) -> None:
        self.broker = broker
        self.proxy = Proxy(broker.port)
        stack.callback(self.proxy.close)
        self._stack = stack

    def made(self, port: int, **fields: Any) -> NATSDriver:
        options = {"timeout": 1.5, "connect_timeout": 1.5, **fields}
        return NATSDriver("app:nats", parsed(NATSSettings, servers=f"nats://127.0.0.1:{port}", **options))

    async def driver(self, *, is_direct: bool = False, **fields: Any) -> NATSDriver:
        """An open driver, closed at the end."""
        driver = self.made(self.broker.port if is_direct else self.proxy.port, **fields)
        self._stack.push_async_callback(driver.close)
        await driver.open()
        return driver

    async def freeze(self) -> None:
        """Stop the server, and wait until none of its threads runs any more."""
        self.broker.freeze()
        assert self.broker.process is not None
        tasks = Path(f"/proc/{self.broker.process.pid}/task")
        await until(lambda: all(_state(task) == "T" for task in tasks.iterdir()))

    async def notes(self) -> int:
        """How many messages the book has, but for the one that stays: the record of the layout."""
        answer = await self.ask("STREAM.INFO.tasuki+=book", subjects_filter=">")
        return len(set(answer["state"].get("subjects") or ()) - {"tasuki.b.v"})

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """One request to JetStream, as an administrator makes it."""
        client = await nats.connect(self.broker.url)
        try:
            answer = await client.request(f"$JS.API.{verb}", json.dumps(fields).encode(), timeout=5)
        finally:
            await client.close()
        found: dict[str, Any] = json.loads(answer.data)
        return found


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


@asynccontextmanager
async def a_site(settings: Sequence[str] = ()) -> AsyncIterator[Site]:
    """A site with its own server; ``settings`` are lines of its configuration."""
    broker = NATSBroker()
    broker.settings = settings
    with broker:
        async with AsyncExitStack() as stack:
            yield Site(broker, stack)


def messages(*ids: str, **options: Any) -> list[Outgoing]:
    return [Outgoing(id, b"body of " + id.encode(), {}, **options) for id in ids]


async def declared(driver: NATSDriver, **options: Any) -> None:
    await driver.declare(QueueSpec(QUEUE, **options))


async def take(driver: NATSDriver, number: int, queue: str = QUEUE) -> list[Received]:
    """This many messages, in spite of errors that pass."""
    taken: list[Received] = []
    end = time.monotonic() + PATIENCE
    while len(taken) < number:
        assert time.monotonic() < end, f"{number} messages wanted, {len(taken)} came"
        try:
            taken += await driver.receive(queue, number - len(taken), 0.5)
        except (BrokerUnavailableError, BrokerTimeoutError):
            await asyncio.sleep(0.05)
    return taken


async def drained(driver: NATSDriver, queue: str = QUEUE) -> list[str]:
    """The ids of all that can be received; all are acked."""
    found: list[str] = []
    while got := await driver.receive(queue, 100, 0.5):
        found += [received.id for received in got]
        assert list(await driver.settle(queue, [Ack(received.receipt) for received in got])) == []
    return found


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


class Load:
    """Publishes and consumes until told to stop, and keeps account."""

    def __init__(self, driver: NATSDriver) -> None:
        self.driver = driver
        self.confirmed: set[str] = set()
        self.doubtful: set[str] = set()
        self.acked: set[str] = set()
        self.is_over = False
        self._number = 0

    async def publish(self) -> None:
        while not self.is_over:
            self._number += 1
            batch = messages(*(f"{self._number}-{index}" for index in range(5)))
            try:
                results = await self.driver.publish(QUEUE, batch)
            except DriverError as error:
                results = [error] * 5
                await asyncio.sleep(0.02)
            for message, result in zip(batch, results or [None] * 5, strict=True):
                if result is None:
                    self.confirmed.add(message.id)
                elif isinstance(result, DriverError) and result.outcome == "unknown":
                    self.doubtful.add(message.id)
            await asyncio.sleep(0)

    async def consume(self) -> None:
        while not self.is_over:
            try:
                got = await self.driver.receive(QUEUE, 20, 0.2)
            except DriverError:
                await asyncio.sleep(0.02)
                continue
            await self.ack(got)
            await asyncio.sleep(0)

    async def ack(self, got: list[Received]) -> None:
        """Until the server has said what became of it, as the framework does; a stale one must come again."""
        while True:
            try:
                stale = await self.driver.settle(QUEUE, [Ack(each.receipt) for each in got]) if got else ()
            except DriverError:
                await asyncio.sleep(0.02)
                continue
            self.acked.update(each.id for each in got if each.receipt not in stale)
            return

    async def more(self, number: int) -> None:
        """Until this many more are acked."""
        before = len(self.acked)
        await until(lambda: len(self.acked) >= before + number)


async def through(load: Load, act: Callable[[], Awaitable[None]]) -> None:
    """Run the load around something, and see that nothing confirmed is lost."""
    async with asyncio.TaskGroup() as group:
        group.create_task(load.publish())
        group.create_task(load.consume())
        await act()
        await load.more(50)
        load.is_over = True
    end = time.monotonic() + PATIENCE
    left: set[str] = set()
    while not load.confirmed <= load.acked | left:
        assert time.monotonic() < end, f"lost: {sorted(load.confirmed - load.acked - left)[:5]}"
        left |= set(await drained(load.driver))
    load.acked |= left
    assert load.acked <= load.confirmed | load.doubtful
    assert load.confirmed


STREAM = f"tasuki+{QUEUE}"

BOOK = "tasuki+=book"


async def received_for_ever(driver: NATSDriver) -> None:
    """Until an error ends it."""
    while True:
        await driver.receive(QUEUE, 1, 0.3)
