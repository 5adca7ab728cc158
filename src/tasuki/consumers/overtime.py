"""Overtime: handlers that go on after their consumer has stopped; their messages are given to nobody else meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.replies import Answer
from tasuki.consumers.verdict import Verdict
from tasuki.contracts.driver import Ack, Nack, Release, Settlement
from tasuki.errors import DriverError
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.consumer")

_running: set[asyncio.Task[None]] = set()
"""All of this process: an event loop holds only weak references to its tasks."""


class Overtime:
    """Takes deliveries over from a stopped consumer, and settles each when its handler ends.

    It ends with the last of them, or when the driver is closed: the broker then gives back what is left.
    """

    def __init__(self, queue: Queue, deliveries: Iterable[Delivery], consumer: Any) -> None:
        self.stopping = True
        self._queue = queue
        self._consumer = consumer
        self._held = {delivery.received.receipt: delivery for delivery in deliveries}
        self._ended: asyncio.Queue[Settlement] = asyncio.Queue()
        for delivery in self._held.values():
            delivery.holder = self
        task = asyncio.get_running_loop().create_task(self._run(), name=f"{consumer.id} overtime")
        _running.add(task)
        task.add_done_callback(_running.discard)

    def __getattr__(self, name: str) -> Any:
        """All that a handler may ask its consumer is as before."""
        return getattr(self._consumer, name)

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`; a message to be dead-lettered or answered is released."""
        receipt = delivery.received.receipt
        if verdict.action == "ack" and verdict.answer is None:
            self._ended.put_nowait(Ack(receipt))
        elif verdict.action == "nack":
            self._ended.put_nowait(Nack(receipt, verdict.delay))
        else:
            self._ended.put_nowait(Release(receipt))

    def answer(self, delivery: Delivery, answer: Answer) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`; too late for a reply."""

    async def _run(self) -> None:
        driver, name, lease = self._queue.driver, self._queue.spec.name, self._queue.spec.lease
        try:
            while self._held:
                try:
                    async with asyncio.timeout(lease / 3):
                        settlement = await self._ended.get()
                except TimeoutError:
                    if driver.capabilities.leases:
                        await driver.extend(name, list(self._held), lease)
                else:
                    self._held.pop(settlement.receipt, None)
                    await driver.settle(name, [settlement])
        except DriverError as error:
            _log.warning("messages of handlers that outlast their consumer are given back by the broker: %s", error,
                         extra={"consumer": self._consumer.id, "queue": self._queue.id})  # fmt: skip
