"""TwinAssembly: the objects of an app's entries, with a TwinDriver in the place of each driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from tasuki.app.assembly import Assembly
from tasuki.app.flow.requests import Requests
from tasuki.clock import Clock
from tasuki.consumers.consumer import Consumer
from tasuki.contracts.driver import Driver
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import HeaderValue
from tasuki.queues.messages.message_builder import seconds
from tasuki.queues.queue import Queue
from tasuki.testing.twin.driver import Faults, TwinDriver
from tasuki.units import Duration


class Answering(Protocol):
    """Lets consumers work while a request waits."""

    @property
    def is_running(self) -> bool:
        """Whether they work already."""

    async def answer(self, asking: Coroutine[Any, Any, Any], queue: str, timeout: float) -> Any:
        """The result of a request."""


class TwinAssembly(Assembly):
    """Its queues may be used from one event loop after another, as a test and its web client do.

    ``run``: runs a coroutine for a thread without an event loop.
    """

    def __init__(self, faults: Faults, run: Callable[[Coroutine[Any, Any, Any]], Any], **parts: Any) -> None:
        self._faults = faults
        self._run = run
        super().__init__(**parts)

    def _driver(self, id: str) -> Driver:
        driver = TwinDriver(id, self._faults)
        self._faults.drivers.append(driver)
        return driver

    def _consumer(self, id: str, config: ConsumerConfig) -> Consumer:
        consumer = super()._consumer(id, config)
        if (batching := consumer.options.batch) is not None:  # its wait is in real time, which a test must not take
            consumer.options = replace(consumer.options, batch=replace(batching, wait=0.0))
        return consumer

    def queue(self, id: str) -> Queue:
        """See ProjectHost."""
        queue = super().queue(id)
        with suppress(RuntimeError):  # there is no loop: the caller only builds a coroutine
            asyncio.get_running_loop()
            queue.use_running_loop()
        return queue

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        """See Host."""
        return self._run(work)

    async def open(self) -> None:
        """Open the drivers and declare their queues."""
        for driver in self.drivers.values():
            await driver.open()
        for queue in self.queues.values():
            await queue.driver.declare(queue.spec)


class TwinRequests(Requests):
    """Lets the consumers work while a request waits for its reply; see :class:`Answering`."""

    def __init__(self, work: Answering, clock: Clock) -> None:
        super().__init__(clock)
        self._work = work

    async def ask(
        self,
        queue: Queue,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        *,
        returns: Any = None,
        reply_to: Queue | None,
        timeout: Duration,
        options: Mapping[str, Any],
    ) -> Any:
        """See Requests."""
        asking = super().ask(queue, body, headers, returns=returns, reply_to=reply_to, timeout=timeout, options=options)
        if self._work.is_running:  # a handler asks, or the test beside a drain
            return await asking
        return await self._work.answer(asking, queue.id, seconds("timeout", timeout))
