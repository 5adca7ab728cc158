"""A NATS server of a test's own with a proxy before it, drivers for both, and a way to change things at the server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
from tests.support.brokers.nats import NATSBroker
from tests.support.proxy import Proxy

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received
from tasuki.drivers.nats import NATSDriver
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError

PATIENCE = 20.0
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
        return NATSDriver("app:nats", servers=f"nats://127.0.0.1:{port}", **options)

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

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """One request to JetStream, as an administrator makes it."""
        client = await nats.connect(f"nats://127.0.0.1:{self.broker.port}")
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
    """A site with a server of its own; ``settings`` are lines of its configuration."""
    broker = NATSBroker()
    broker.settings = settings
    try:
        broker.start()
        async with AsyncExitStack() as stack:
            yield Site(broker, stack)
    finally:
        broker.end()


def messages(*ids: str, **options: Any) -> list[Outgoing]:
    return [Outgoing(id, b"body of " + id.encode(), {}, **options) for id in ids]


async def declared(driver: NATSDriver, **options: Any) -> None:
    await driver.declare(QueueSpec(QUEUE, **options))


async def take(driver: NATSDriver, number: int, queue: str = QUEUE) -> list[Received]:
    """So many messages, in spite of errors that pass."""
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
