"""Settler: carries out verdicts at the broker, batch by batch, on its own deadline and never cancelled with a handler.

A flush starts as soon as the one before has returned, so that batches form by themselves and nothing lingers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tasuki.backoff import Backoff
from tasuki.clock import Clock
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.verdict import Verdict
from tasuki.contracts.driver import Ack, Driver, Nack, Release, Settlement
from tasuki.errors import DriverError
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.dead_letter import dead_letter
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.consumer")

_RETRY = Backoff(initial_delay=0.05, max_delay=2.0)
_LOG_EVERY = 10.0


class Settler:
    """Ends the deliveries of one consumer; ``on_settled`` is told how many are no longer held."""

    def __init__(
        self,
        *,
        consumer: str,
        queue: Queue,
        dead_letters: Queue | None,
        metrics: ConsumerMetrics,
        clock: Clock,
        on_settled: Callable[[list[Settlement]], None],
    ) -> None:
        self._consumer = consumer
        self._queue = queue
        self._driver: Driver = queue.driver
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._clock = clock
        self._on_settled = on_settled
        self._buffer: list[Settlement] = []
        self._moves: set[asyncio.Task[None]] = set()
        self._wake: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._last_complaint = float("-inf")

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Carry out a verdict soon; never raises, never waits."""
        receipt = delivery.received.receipt
        action = verdict.action
        if action == "ack":
            self._metrics.acked += 1
            self._add(Ack(receipt))
        elif action == "nack":
            self._metrics.nacked += 1
            if verdict.kept:
                self._complain_kept(delivery, verdict)
            self._add(Nack(receipt, verdict.delay))
        elif action == "release":
            self._metrics.released += 1
            self._add(Release(receipt))
        else:
            move = asyncio.get_running_loop().create_task(self._move(delivery, verdict), name="dead-letter")
            self._moves.add(move)
            move.add_done_callback(self._moves.discard)

    def _add(self, settlement: Settlement) -> None:
        self._buffer.append(settlement)
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None
            self._empty.clear()

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            while not self._buffer:
                self._empty.set()
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
            batch, self._buffer = self._buffer, []
            size = self._driver.capabilities.max_batch
            for start in range(0, len(batch), size):
                await self._flush(batch[start : start + size])

    async def _flush(self, batch: list[Settlement]) -> None:
        """Settle one batch; while the broker is away try again until the leases must have lapsed anyway."""
        deadline = self._clock.monotonic() + self._queue.spec.lease
        failures = 0
        while True:
            try:
                stale = await self._driver.settle(self._queue.spec.name, batch)
            except DriverError as error:
                failures += 1
                if not error.retryable or self._clock.monotonic() >= deadline:
                    self._give_up(batch, error)
                    break
                self._complain("cannot settle yet: %s", error)
                await asyncio.sleep(_RETRY.delay(failures))
            else:
                if stale:
                    self._note_stale(len(stale))
                break
        self._on_settled(batch)

    async def _move(self, delivery: Delivery, verdict: Verdict) -> None:
        """Publish to the dead-letter queue, and only when that is confirmed ack the original."""
        received = delivery.received
        assert self._dead_letters is not None
        message = dead_letter(
            received,
            queue=self._queue.id,
            reason=verdict.reason,
            error=verdict.error,
            attempts=received.attempt,
            now=self._clock.time(),
            content_type=self._queue.codec.name,
        )
        error = (await self._dead_letters.forward((message,)))[0]
        if error is None:
            self._metrics.dead_lettered += 1
            _log.error(
                "dead-lettered to %s after attempt %d (%s): %s",
                self._dead_letters.id,
                received.attempt,
                verdict.reason,
                verdict.error,
                extra=self._extra(delivery),
            )
            self._add(Ack(received.receipt))
        else:
            _log.error("cannot be dead-lettered yet, kept: %s", error, extra=self._extra(delivery))
            self._metrics.nacked += 1
            self._add(Nack(received.receipt, self._queue.policy.retry.delay(received.attempt)))

    async def finish(self, timeout: float) -> bool:
        """Wait until everything given so far is settled; False if that took longer than ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._moves:
                    await asyncio.wait(set(self._moves))
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _extra(self, delivery: Delivery) -> dict[str, object]:
        return {
            "consumer": self._consumer,
            "queue": self._queue.id,
            "message_id": delivery.received.id,
            "attempt": delivery.received.attempt,
        }

    def _note_stale(self, count: int) -> None:
        self._metrics.stale += count
        _log.warning(
            "%d settled too late: the lease was lost, the message may be handled twice",
            count,
            extra={"consumer": self._consumer, "queue": self._queue.id},
        )

    def _give_up(self, batch: list[Settlement], error: DriverError) -> None:
        _log.error(
            "%d deliveries could not be settled and will come again when their lease ends: %s",
            len(batch),
            error,
            extra={"consumer": self._consumer, "queue": self._queue.id},
        )

    def _complain(self, text: str, error: DriverError) -> None:
        now = self._clock.monotonic()
        if now - self._last_complaint >= _LOG_EVERY:
            self._last_complaint = now
            _log.warning(text, error, extra={"consumer": self._consumer, "queue": self._queue.id})

    def _complain_kept(self, delivery: Delivery, verdict: Verdict) -> None:
        _log.error(
            "%s: %s; kept for another %g s because queue %s has no dead_letter",
            verdict.reason,
            verdict.error,
            verdict.delay,
            self._queue.id,
            extra=self._extra(delivery),
        )
