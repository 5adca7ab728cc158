"""A worker in this process at a real broker behind a proxy, and its health over a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tasuki import App
from tasuki.app.health.health import LOOK
from tasuki.errors import DriverError
from tasuki.testing.proxy import Proxy
from tests.support.brokers.everywhere import broker_of, overrides
from tests.support.brokers.rig import fresh

WINDOW = 15.0
"""Seconds within which red must be shown; counted in observations, so that a slow machine decides nothing."""
GREEN = 5.0
"""Seconds within which green must be shown again, once the worker works again."""
SECONDS = 120.0
"""Longest wait for a verdict; no test waits that long where all is well."""

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
"""


class Watched:
    """A running app, and the messages that its handler has got."""

    def __init__(self, app: App, queue: Any, seen: list[int]) -> None:
        self.app, self.queue, self.seen = app, queue, seen

    @property
    def looks(self) -> int:
        return self.app.health.looks

    async def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> tuple[dict[str, Any], float]:
        """Wait for a verdict; with the seconds of observations that it took."""
        before = self.looks
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(SECONDS):
                while not condition(found := self.app.health.report().as_dict()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never {what}: {found}") from None
        return found, (self.looks - before) * LOOK

    async def red(self, probe: str = "live") -> dict[str, Any]:
        """Wait until it is not live, or not ready: soon enough."""
        found, took = await self.until(lambda health: not health[probe], f"not {probe}")
        assert took <= WINDOW, (took, found)
        return found

    async def green(self) -> None:
        """Wait until it works again, and is said to: soon enough."""
        number = len(self.seen)
        await self.handled(number)
        _, took = await self.until(lambda health: bool(health["ready"]), "ready")
        assert took - LOOK < GREEN, took  # the first one may come at once

    async def handled(self, number: int) -> None:
        """Publish a message, and wait until the handler has it."""
        async with asyncio.timeout(SECONDS):
            while number not in self.seen:
                if not (self.seen and self.seen[-1] >= number):
                    await self._publish(number)
                await asyncio.sleep(0.2)

    async def _publish(self, number: int) -> None:
        try:
            await self.queue.publish(number)
        except DriverError as error:  # the broker is not there yet, or it is unknown whether it has it
            if not error.retryable:
                raise


def texts(health: dict[str, Any], status: str) -> str:
    """What the checks with this status say."""
    return "\n".join(f"{check['name']}: {check['text']}" for check in health["checks"] if check["status"] == status)


@contextmanager
def proxied(driver: str, folder: Path) -> Iterator[tuple[list[str], Proxy | None]]:
    """Overrides that bring a project onto a driver, behind its own proxy where there is a broker."""
    changes, broker = overrides(driver, "app:driver", folder), broker_of(driver)
    if broker is None:
        yield changes, None
        return
    proxy = Proxy(broker.port)
    try:
        yield [change.replace(f":{broker.port}", f":{proxy.port}") for change in changes], proxy
    finally:
        proxy.close()


@asynccontextmanager
async def worker(
    changes: list[str], folder: Path, handle: Callable[[int], Any] | None = None, **options: Any
) -> AsyncIterator[Watched]:
    """A worker that is ready, with one queue."""
    (folder / "_index.yaml").write_text(PROJECT)
    app = App.load(folder, overrides=changes)
    seen: list[int] = []
    queue = app.queue(fresh("health"), driver="app:driver", **options)

    @queue.consumer(concurrency=2)
    async def work(body: int) -> None:
        seen.append(body)
        if handle is not None:
            await handle(body)

    async with app.worker():
        watched = Watched(app, queue, seen)
        await watched.handled(0)
        await watched.until(lambda health: bool(health["ready"]), "ready")
        yield watched
