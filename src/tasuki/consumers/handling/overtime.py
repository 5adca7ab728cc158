"""Overtime: handlers that outlast their consumer; their messages stay held until each handler ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from tasuki.backoff import pause_after
from tasuki.consumers.delivery import Delivery, Holder
from tasuki.consumers.settling.verdict import LATER, RELEASE, Answer, Verdict
from tasuki.contracts.driver import Ack, Nack, Release, Settlement
from tasuki.errors import DriverError
from tasuki.message import is_member
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.consumer")

_running: set[asyncio.Task[None]] = set()
"""All of this process: an event loop holds only weak references to its tasks."""


class Overtime:
    """Takes deliveries over from a stopped consumer, and settles each when its handler ends.

    It ends with the last handler, or when the broker was unavailable for a lease: the broker then requeues the rest.
    """

    def __init__(self, queue: Queue, deliveries: Iterable[Delivery], consumer: Any) -> None:
        self._queue = queue
        self._consumer = consumer
        self._held = {delivery.received.receipt: delivery for delivery in deliveries}
        self._ended: asyncio.Queue[Settlement] = asyncio.Queue()
        self._settling: Settlement | None = None
        self._has_leases = queue.driver.capabilities.has("leases")
        self._now = asyncio.get_running_loop().time
        self._renew_at = self._lapse_at = self._now() + queue.spec.lease / 3  # the keeper has left more than that
        for delivery in self._held.values():
            delivery.holder = _Late(self, delivery.holder)
        task = asyncio.get_running_loop().create_task(self._run(), name=f"{consumer.id} overtime")
        _running.add(task)
        task.add_done_callback(_running.discard)

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Settle when the broker can; a message to be dead-lettered or answered is released."""
        receipt = delivery.received.receipt
        if verdict is LATER:
            return
        if verdict.action == "ack" and verdict.answer is None:
            self._ended.put_nowait(Ack(receipt))
        elif verdict.action == "nack":
            self._ended.put_nowait(Nack(receipt, verdict.delay))
        else:
            self._ended.put_nowait(Release(receipt, verdict.delay if verdict.action == "release" else 0.0))

    def holds(self, delivery: Delivery) -> bool:
        """Whether it is still held."""
        return delivery.received.receipt in self._held

    async def _run(self) -> None:
        failures = 0
        try:
            while self._held:
                try:
                    await self._renew()
                    await self._settle_next()
                    failures = 0
                except DriverError as error:
                    if not (self._has_leases and error.retryable) or self._now() >= self._lapse_at:
                        raise
                    failures += 1
                    await asyncio.sleep(pause_after(error, failures))
        except DriverError as error:
            _log.warning("the broker requeues the messages of handlers that outlast their consumer: %s", error,
                         extra={"consumer": self._consumer.id, "queue": self._queue.id})  # fmt: skip

    async def _renew(self) -> None:
        """Renew all leases when it is time to."""
        if not self._has_leases or (now := self._now()) < self._renew_at:
            return
        driver, name, lease = self._queue.driver, self._queue.spec.name, self._queue.spec.lease
        receipts, size = list(self._held), driver.capabilities.max_batch
        for start in range(0, len(receipts), size):
            await driver.extend(name, receipts[start : start + size], lease)
        self._renew_at, self._lapse_at = now + lease / 3, now + lease

    async def _settle_next(self) -> None:
        """Settle what ends next; nothing if leases must be renewed before."""
        if self._settling is None:
            try:
                async with asyncio.timeout(self._renew_at - self._now() if self._has_leases else None):
                    self._settling = await self._ended.get()
            except TimeoutError:
                return
        await self._queue.driver.settle(self._queue.spec.name, [self._settling])
        self._held.pop(self._settling.receipt, None)
        self._settling = None


class _Late:
    """The holder of a delivery whose consumer has stopped: the one before, but for what a stopped one cannot do."""

    stopping = True

    def __init__(self, overtime: Overtime, before: Holder) -> None:
        self._overtime, self.settle = overtime, overtime.settle
        self._before = before

    def __getattr__(self, name: str) -> Any:
        """All else, for the handlers."""
        return getattr(self._before, name)

    def drop(self, delivery: Delivery) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        self.settle(delivery, RELEASE)

    def answer(self, delivery: Delivery, answer: Answer | None) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`; too late for a reply. A member that is held comes again."""
        if self._overtime.holds(delivery):
            self.settle(delivery, RELEASE)
        elif is_member(delivery.received):
            _log.error("the handler has outlasted its consumer, and its message was acked before: the messages that "
                       "follow it do not come", extra=delivery.log_fields())  # fmt: skip
