"""RealWork: lets the consumers of a real app handle due messages, and waits in real time for what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from typing import Any, TypeVar

from tasuki.clock import Clock
from tasuki.drivers.memory.slots import Slot
from tasuki.errors import DriverError, HandlerError, LifecycleError
from tasuki.queues.queue import Queue
from tasuki.testing.real.ledger import Ledger, Place
from tasuki.testing.twin.driver import Faults
from tasuki.testing.twin.reading.explain import LINES
from tasuki.testing.twin.reading.records import Drained
from tasuki.testing.twin.work import STEPS, NotSettled, Work, turns
from tasuki.units import format_duration

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds: a test that has to wait longer for one message is one for virtual time."""
_CHECK_AFTER = 1.0
"""Seconds without an event after which the broker is asked what it has."""
_PATIENCE = 30
"""Checks in a row without an event, after which the broker does not deliver what it has."""


class RealWork(Work):
    """As Work; between two calls of the test nothing is handled."""

    def __init__(self, faults: Faults, ledger: Ledger, clock: Clock, patience: float) -> None:
        super().__init__(faults, patience)
        self._ledger = ledger
        self._real = clock

    def now(self) -> float:
        """See Work."""
        return self._real.monotonic()

    def slots(self, queue: Queue) -> list[Slot]:
        """See Work."""
        return self._ledger.waiting(_place(queue))

    async def advance(self, seconds: float, steps: int = STEPS) -> Drained:
        """Handle due messages, and those that come due within this many seconds; return as soon as nothing more will.

        Raises:
            LifecycleError: a message within that time is due only after ``LONGEST_WAIT``.
        """
        start, until = len(self.journal.settled), self.now() + seconds
        async with self._running(steps):
            await self._until_idle()
            while (due := self.next_due()) is not None and due <= until:
                if due - self.now() > LONGEST_WAIT:
                    raise LifecycleError(
                        f"the next message is due in {format_duration(round(due - self.now(), 3))}, and real time does "
                        f"not jump: wait for less than {format_duration(LONGEST_WAIT)}, give the queue shorter delays "
                        "for this test, or test it without real=True"
                    )
                self._count_steps()
                await self._news_within(max(due - self.now(), 0.0))
                await self._until_idle()
        return self.journal.since(start)

    async def answer(self, asking: Coroutine[Any, Any, T], queue: str, timeout: float) -> T:
        """See Work; the request keeps its own timeout."""
        start = len(self.journal.requests)
        try:
            async with self._running(STEPS):
                return await asking
        except HandlerError:
            self.journal.read_failures(self.journal.requests[start:])  # the requester has the error
            raise
        finally:
            asking.close()

    async def _start(self) -> None:
        for consumer in self.selected:
            await consumer.start()
            self._ends.append(asyncio.create_task(consumer.wait(), name=f"end of {consumer.id}"))
        await self._until_current()

    async def _end(self, timeout: float) -> None:
        try:
            await self._stop(timeout)
        finally:
            try:
                if self.assembly.hooks is not None:
                    await self.assembly.hooks.finish()
            finally:
                self.loop = None

    async def _until_idle(self) -> None:
        silent = 0
        while True:
            await turns(lambda: False)
            # The broker takes its time to answer: what came due meanwhile may be held now.
            if not self._is_busy() and not await self._has_more() and not self._is_busy():
                return
            self._count_steps()
            steps = self.journal.steps
            is_changed = await self._news_within(_CHECK_AFTER)
            self._check_patience(is_changed=is_changed)
            if is_changed or any(consumer.now.running for consumer in self.selected):
                silent = 0
                continue
            await self._forget_what_is_gone()
            silent = silent + 1 if steps == self.journal.steps else 0
            if silent > _PATIENCE:
                raise NotSettled(f"the broker does not deliver these messages:\n{self.explain()}")

    async def _news_within(self, seconds: float) -> bool:
        """Wait for a change, but no longer; whether there was one. Raises what ended a consumer."""
        with self.journal.news() as news:
            await asyncio.wait([news, *self._ends], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            is_changed = news.done()
        for end in self._ends:
            if end.done():
                end.result()
        return is_changed

    def _is_busy(self) -> bool:
        if any(consumer.now.held for consumer in self.selected):
            return True
        # A consumer holds a delivery until its handler has ended; the broker has the settlement a moment later.
        return any(
            self._ledger.held(_place(queue)) or any(slot.due <= self.now() for slot in self.slots(queue))
            for queue in self._queues()
        )

    async def _has_more(self) -> bool:
        """Whether a broker that counts exactly has receivable messages that this process has not published."""
        return any(
            [
                queue.driver.capabilities.has("exact_depth") and (await queue.occupancy()).ready
                for queue in self._queues()
            ]
        )

    async def _forget_what_is_gone(self) -> None:
        """Ask the brokers what they have: messages expire, are purged, and go to other workers."""
        for queue in self._queues():
            if not queue.driver.capabilities.has("exact_depth"):
                continue
            try:
                found = await queue.occupancy()
            except DriverError as error:
                if not error.retryable:
                    raise
            else:
                if not found.ready and not found.hidden:
                    self._ledger.forget(_place(queue))

    def _queues(self) -> list[Queue]:
        """The queues of the consumers that are not paused, each once."""
        queues = {consumer.queue.id: consumer.queue for consumer in self.selected if consumer.now.pause is None}
        return list(queues.values())

    def next_due(self) -> float | None:
        """See Work."""
        return min((slot.due for queue in self._queues() for slot in self.slots(queue) if slot.due), default=None)

    def explain(self, but: Collection[str] = (), limit: int = LINES) -> str:
        """See Work."""
        lines = [line for id, queue in self.assembly.queues.items() if id not in but for line in self._lines(queue)]
        return "\n".join(lines[:limit] + ([f"… and {len(lines) - limit} more"] if len(lines) > limit else []))

    def _lines(self, queue: Queue) -> Iterator[str]:
        is_consumed = any(consumer.queue is queue for consumer in self.selected)
        for id in self._ledger.held(_place(queue)):
            yield f"  {queue.id} {id}: a consumer holds it"
        for slot in self.slots(queue):
            left = slot.due - self.now()
            if slot.due and left > 0:
                why = f"it is due in {format_duration(round(left, 3))}: advance the time"
            else:
                why = "it is ready: drain" if is_consumed else "no consumer of this queue starts automatically"
                if is_consumed and (queue.spec.limit or queue.spec.lane_limit):
                    why = "it is ready, as soon as the limit of its queue allows"
            failed = f"; failed {slot.failures} times" if slot.failures else ""
            yield f"  {queue.id} {slot.id}: {why}{failed}" + (f", last: {slot.failure[0]}" if slot.failure else "")


def _place(queue: Queue) -> Place:
    return queue.driver.name, queue.spec.name
