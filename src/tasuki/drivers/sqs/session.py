"""What an open driver works with; each ``open`` makes a new one, so that no receipt outlives a ``close``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tasuki.clock import Clock
from tasuki.contracts.driver import Depth, QueueSpec
from tasuki.drivers.sqs.clients import Clients, at_once
from tasuki.drivers.sqs.declaring import Declaring, Found
from tasuki.drivers.sqs.polling import LONGEST_POLL, Polling, Suspects
from tasuki.drivers.sqs.publishing import Publishing
from tasuki.drivers.sqs.settings import SQSSettings
from tasuki.drivers.sqs.settling import Settling
from tasuki.drivers.sqs.source import Source
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system.tasks import Tasks

_CLOSE_TIMEOUT = LONGEST_POLL + 1.0
"""Seconds for running requests when the driver closes, and again for releasing held messages."""
T = TypeVar("T")


class Session:
    """The parts of the driver, and what it knows of its queues."""

    def __init__(self, driver: str, settings: SQSSettings, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock
        self._checks_digests = not settings.disable_message_checksum_validation
        self._clients = Clients(driver, settings, clock)
        self._declaring = Declaring(
            driver,
            self._clients,
            retention=settings.message_retention_period,
            default_delay=settings.default_delay_seconds,
        )
        self.publishing = Publishing(driver, self._clients, checks_digests=self._checks_digests)
        self.settling = Settling(driver, self._clients, self.publishing, clock)
        self.sources: dict[str, Source] = {}
        self.undeclared: dict[str, Source] = {}
        """Not declared any more, but with open deliveries."""
        self._pollings: dict[Source, Polling] = {}
        self._background = Tasks()

    async def open(self, specs: Sequence[QueueSpec]) -> None:
        """Connect and declare; raises if SQS cannot be reached."""
        await self._clients.connect()
        if not specs:
            await self._declaring.reach()
            return
        errors: list[DriverError] = []

        async def declare(spec: QueueSpec) -> None:
            try:
                await self.declare(spec)
            except DriverError as error:
                errors.append(error)

        await at_once(specs, declare)
        if errors:
            raise errors[0]

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist, and note its options; open deliveries stay open."""
        self._know(spec, await self._declaring.declare(spec))

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Note the options of an existing queue, and return them as SQS has them."""
        found = await self._declaring.inspect(spec)
        self._know(spec, found)
        return replace(spec, options=found.options)

    def _know(self, spec: QueueSpec, found: Found) -> None:
        old = self.sources.get(spec.name) or self.undeclared.pop(spec.name, None)
        if old is not None and old.url == found.url:
            old.spec, old.largest, old.kept_for = spec, found.largest, found.kept_for
            self.sources[spec.name] = old
            return
        self.sources[spec.name] = Source(
            spec, found.url, is_fifo=found.is_fifo, largest=found.largest, kept_for=found.kept_for
        )

    def polling(self, source: Source) -> Polling:
        """Who receives from a queue."""
        polling = self._pollings.get(source)
        if polling is None:
            polling = self._pollings[source] = Polling(
                self._driver,
                source,
                self._clients,
                self._declaring,
                self.settling,
                self._clock,
                checks_digests=self._checks_digests,
            )
        return polling

    def suspects(self, source: Source) -> Suspects:
        """Starts the suspects of a queue."""
        return Suspects(source, self.polling(source), self._declaring, self.settling, self.publishing, self._clock)

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it to its end, also when the caller is cancelled."""
        task = self._background.start(work)
        await asyncio.wait([task])  # which leaves the task alone when this is cancelled
        if task.cancelled():  # by close
            raise BrokerUnavailableError(f"driver {self._driver!r} was closed meanwhile", driver=self._driver)
        return task.result()

    async def depth(self, source: Source) -> Depth:
        """What SQS counts, approximately; another process may have made the queue of suspects."""
        if source.suspects_url is None and not source.spec.temporary:
            source.suspects_url = await self._declaring.find_suspects(source.spec, source.url)
        urls = [source.url] if source.suspects_url is None else [source.url, source.suspects_url]
        counts = [await self._declaring.counts(source.spec.name, url) for url in urls]
        ready, in_flight, delayed = map(sum, zip(*counts, strict=True))
        return Depth(ready, in_flight, delayed, is_estimate=True)

    async def undeclare(self, queue: str) -> None:
        """Forget a queue, but for its open deliveries; messages that still arrive are returned."""
        source = self.sources.pop(queue, None)
        if source is None:
            return
        if not source.is_idle:
            self.undeclared[queue] = source
        await self._end_polling(source)

    async def delete(self, source: Source) -> None:
        """Remove the queue, and the one of its suspects, which another process may have made."""
        await self._clients.call("delete_queue", source.spec.name, QueueUrl=source.url)
        suspects_url = source.suspects_url or await self._declaring.find_suspects(source.spec, source.url)
        if suspects_url is not None:
            await self._clients.call("delete_queue", source.spec.name, QueueUrl=suspects_url)
        self.sources.pop(source.spec.name, None)
        await self._end_polling(source)

    async def _end_polling(self, source: Source) -> None:
        polling = self._pollings.pop(source, None)
        if polling is not None:
            await polling.close(_CLOSE_TIMEOUT)

    async def close(self) -> None:
        """End receives, wait for running requests, release held messages."""
        try:
            await asyncio.gather(*(polling.close(_CLOSE_TIMEOUT) for polling in self._pollings.values()))
            await self._background.wait(_CLOSE_TIMEOUT)
            self._background.cancel()
            await self._background.wait(_CLOSE_TIMEOUT)
            with contextlib.suppress(TimeoutError, DriverError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    known = {*self.sources.values(), *self.undeclared.values()}
                    await asyncio.gather(*(self._let_go(source) for source in known))
        finally:
            await self._clients.close()

    async def _let_go(self, source: Source) -> None:
        held = source.take_all()
        if held:
            await self.settling.let_go(source, held)
