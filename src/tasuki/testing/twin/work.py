"""Work: lets the consumers of a twin handle due messages, one drain at a time, and moves virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki.errors import HandlerError, LifecycleError, RequestTimeoutError, StopTimeoutError
from tasuki.testing.twin.driver import twin_of
from tasuki.testing.twin.reading.explain import LINES, explain, waited_for
from tasuki.testing.twin.reading.records import Drained
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.consumers.consumer import Consumer
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import PoolWorker
    from tasuki.drivers.memory.queue import MemoryQueue
    from tasuki.drivers.memory.slots import Slot
    from tasuki.queues.queue import Queue
    from tasuki.testing.twin.driver import Faults
    from tasuki.testing.twin.schedules import TwinSchedules

T = TypeVar("T")

STEPS = 1_000
"""Most deliveries of one drain."""
_TURNS = 20
"""Turns of the loop in which a task goes on after the change that it waited for."""
_TICK = 1e-6
"""Seconds beyond a due time, so that rounding leaves none before it."""
_STOP_TIMEOUT = 10.0
_HELD = (
    "a handler that waits for a row of the test's own open transaction never ends: write TestApp(…, inline=True), "
    "which runs it in the thread and the connection of the test; one that may take longer: TestApp(…, patience='5m')"
)
_BLOCK = "use it within 'async with TestApp(app) as t', one block for each TestApp"


class NotSettled(AssertionError):  # noqa: N818 - it fails a test as an assertion does
    """Messages are left after as many steps as a drain may take, or cannot be settled at all."""


class Work:
    """Starts the consumers for a drain, and stops them at its end: between two calls of a test nothing runs.

    So no task outlives a call, and each call may come from another event loop.
    """

    def __init__(self, faults: Faults, patience: float) -> None:
        self.faults = faults
        self.patience = patience
        """Seconds of real time without an event, after which a drain ends."""
        self.is_stuck = False
        """A handler cannot be ended, and holds the loop."""
        self._silent_since = 0.0
        self.clock = faults.clock
        self.journal = faults.journal
        self.entered: Assembly | None = None
        """The app's objects, from when the test enters the block; also after it, to be read."""
        self.is_over = False
        """The test has left the block."""
        self.selected: list[Consumer] = []
        """The consumers that start by themselves."""
        self.schedules: TwinSchedules | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where a drain is under way now."""
        self._ends: list[asyncio.Task[None]] = []
        self._limits = HandlerLimits()
        self._steps, self._last_step, self._ticks = STEPS, STEPS, 0

    @property
    def is_running(self) -> bool:
        """Whether a drain is under way."""
        return self.loop is not None

    @property
    def assembly(self) -> Assembly:
        """The app's objects. Raises LifecycleError before the block."""
        if self.entered is None:
            raise LifecycleError(f"the TestApp has not begun: {_BLOCK}")
        return self.entered

    def now(self) -> float:
        """Monotonic time, virtual as all of it."""
        return self.clock.monotonic()

    def slots(self, queue: Queue) -> list[Slot]:
        """The messages that wait in a queue: receivable ones in order, then delayed ones by their time."""
        return list(twin_of(queue).queues[queue.spec.name].peek())

    async def drain(self, steps: int = STEPS) -> Drained:
        """Handle everything that is due now."""
        return await self.advance(0.0, steps)

    async def advance(self, seconds: float, steps: int = STEPS) -> Drained:
        """Drain, and let so much time pass, handling delayed messages in the order of their times."""
        start, until = len(self.journal.settled), self.clock.monotonic() + seconds
        async with self._running(steps):
            await self._until_idle()
            while (due := self.next_due()) is not None and due <= until:
                self._count_steps()
                self._pass_until(due + _TICK)
                await self._until_idle()
            self._pass_until(until)
            await self._until_idle()
            if self._is_cut_off():
                raise NotSettled(f"messages cannot be settled:\n{self.explain()}")
        return self.journal.since(start)

    async def answer(self, asking: Coroutine[Any, Any, T], queue: str, timeout: float) -> T:
        """The result of a request, which the consumers handle meanwhile."""
        until, start = self.clock.monotonic() + timeout, len(self.journal.requests)
        async with self._running(STEPS):
            task = asyncio.create_task(asking, name=f"request to {queue}")
            try:
                while not task.done() and len(self.journal.requests) == start:
                    await self._news(task)
                while not await self._is_answered(task):
                    due = self.next_due()
                    if due is None or due > until:
                        raise RequestTimeoutError(
                            f"queue {queue!r}: no reply within {format_duration(timeout)} of virtual time; "
                            f"{self.explain(limit=1) or 'its handler has ended without one'}"
                        )
                    self._count_steps()
                    self._pass_until(due + _TICK)
                return task.result()
            except HandlerError:
                self.journal.read_failures(self.journal.requests[start:])  # the requester has the error
                raise
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def _is_answered(self, task: asyncio.Task[Any]) -> bool:
        """Whether the reply is there when everything is handled."""
        while not task.done():
            await self._until_idle()
            await turns(lambda: task.done() or self._is_busy())
            if not self._is_busy():
                break
        return task.done()

    @asynccontextmanager
    async def _running(self, steps: int) -> AsyncIterator[None]:
        if self.is_over:
            raise LifecycleError(f"the TestApp has ended: {_BLOCK}")
        if self.is_running:
            raise LifecycleError(
                "a drain of this TestApp is under way already: await it first; handlers cannot drain their own twin"
            )
        self.loop = asyncio.get_running_loop()
        self._steps, self._last_step, self._ticks = steps, self.journal.steps + steps, 0
        self._silent_since = self.loop.time()
        try:
            await self._start()
            yield
        except BaseException:
            with suppress(StopTimeoutError):  # the first error says more
                await self._end(0.0)
            raise
        await self._end(_STOP_TIMEOUT)

    async def _end(self, timeout: float) -> None:
        """Stop the consumers; handlers that run for longer than this many seconds are cancelled."""
        try:
            if self._is_cut_off():
                self.faults.lose_connections()
            await self._stop(timeout)
        finally:
            try:
                await leave_loop(self.assembly)
            finally:
                self.loop = None

    async def _start(self) -> None:
        for queue in self.assembly.queues.values():
            queue.use_running_loop()
        for consumer in self.selected:
            await consumer.start()
            self._ends.append(asyncio.create_task(consumer.wait(), name=f"end of {consumer.id}"))
        await self._until_current()
        self.faults.is_killed = False

    async def _until_current(self) -> None:
        """Return when each consumer knows whether it is paused. Raises what ended one."""
        knowing = asyncio.create_task(self._all_current(), name="read the controls")
        await asyncio.wait([knowing, *self._ends], return_when=asyncio.FIRST_COMPLETED)
        knowing.cancel()
        for end in self._ends:
            if end.done():
                end.result()

    async def _all_current(self) -> None:
        for consumer in self.selected:
            if (run := consumer.run) is not None and run.controlled is not None:
                await run.controlled.is_current.wait()

    async def _stop(self, timeout: float) -> None:
        try:
            await asyncio.gather(*(consumer.stop(timeout) for consumer in self.selected))
        finally:
            ends, self._ends = self._ends, []
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _until_idle(self) -> None:
        """Return when no message is due any more, and none is held."""
        for state in {consumer.state for consumer in self.selected if consumer.state is not None}:
            await (await state.store()).time()  # its watch learns of the pauses that have ended by now
        if self.schedules is not None and await self.schedules.fire():
            self._count_ticks()
        while True:
            await turns(lambda: self.faults.is_killed)
            if self.faults.is_killed:  # its successor takes over
                await self._stop(0.0)
                await self._start()
            if not self._is_busy() or self._is_cut_off():
                return
            self._count_steps()
            if self._is_stuck():
                raise NotSettled(f"messages cannot be settled:\n{self.explain()}")
            await self._news()

    def _count_ticks(self) -> None:
        """Raise NotSettled after too many moments at which schedules published, also for queues without a consumer."""
        self._ticks += 1
        if self._ticks > self._steps:
            raise NotSettled(f"schedules ticked {self._steps} times: let less time pass at once, or give steps=…")

    def _count_steps(self) -> None:
        """Raise NotSettled after too many deliveries; where something is left to handle."""
        if self.journal.steps > self._last_step:
            raise NotSettled(f"messages are left after {self._steps} deliveries:\n{self.explain()}")

    async def _news(self, *tasks: asyncio.Task[Any]) -> None:
        """Wait for a change. Raises what ended a consumer, and NotSettled: there is none for too long."""
        limit, ends = self._limits.left(self.selected), [*self._ends, *tasks]
        wait = self.patience if limit is None else limit
        with self.journal.news() as news:
            done, _ = await asyncio.wait([news, *ends], timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        self._limits.interrupt()
        self._check_patience(is_changed=bool(done) or limit is not None)
        for end in self._ends:
            if end.done():
                end.result()

    def _check_patience(self, *, is_changed: bool) -> None:
        """Raise NotSettled when nothing has happened for too long; its text names the handlers that run."""
        now = asyncio.get_running_loop().time()
        if is_changed:
            self._silent_since = now
        elif now - self._silent_since >= self.patience:
            self.is_stuck = any(consumer.now.running for consumer in self.selected)
            raise NotSettled(
                f"nothing has happened for {format_duration(self.patience)}, and the drain waits for\n"
                f"{waited_for(self.selected) or self.explain()}\n{_HELD}"
            )

    def _is_busy(self) -> bool:
        if any(consumer.now.held for consumer in self.selected):
            return True
        consumed, now = self.consumed(), self.now()
        return any(
            queue.held
            or (not self.faults.is_away and queue.next_at(now) <= now and (queue in consumed or queue.waiters))
            for driver in self.faults.drivers
            for queue in driver.queues.values()
        )

    def _is_stuck(self) -> bool:
        """Whether all that is held waits for room in a dead-letter queue."""
        runs = [consumer.run for consumer in self.selected if consumer.run is not None]
        kept = sum(run.window.kept - run.settler.giving_up for run in runs)
        return kept > 0 and kept == sum(consumer.now.held for consumer in self.selected)

    def _is_cut_off(self) -> bool:
        """Whether handlers have ended whose broker is unavailable, and none runs."""
        held = any(consumer.now.held for consumer in self.selected)
        return held and self.faults.is_away and not any(consumer.now.running for consumer in self.selected)

    def consumed(self) -> list[MemoryQueue]:
        """The queues of the consumers that are not paused."""
        queues = {consumer.queue.id: consumer.queue for consumer in self.selected if consumer.now.pause is None}
        return [twin_of(queue).queues[queue.spec.name] for queue in queues.values()]

    def next_due(self) -> float | None:
        """Monotonic time of the next thing that happens by itself; None: nothing will."""
        now = self.now()
        times = [at for queue in self.consumed() if now < (at := queue.next_at(now)) < inf]
        if self.faults.is_away:
            times.append(self.faults.away_until)
        if self.schedules is not None and (tick := self.schedules.next_at()) is not None:
            times.append(tick)
        pauses = [consumer.now.pause for consumer in self.selected if consumer.now.pause is not None]
        times += [now + pause.until - self.clock.time() for pause in pauses if pause.until is not None]
        return min(times, default=None)

    def explain(self, but: Collection[str] = (), limit: int = LINES) -> str:
        """Why each message waits, one line each; ``but``: ids of queues to leave out."""
        queues = [queue for id, queue in self.assembly.queues.items() if id not in but]
        return explain(self.faults, queues, self.selected, limit)

    def _pass_until(self, time: float) -> None:
        self.clock.advance(max(time - self.clock.monotonic(), 0.0))
        self.faults.time_has_passed()


async def turns(is_over: Callable[[], bool]) -> None:
    """Let tasks go on for a few turns of the loop: what follows from a change needs no more."""
    for _ in range(_TURNS):
        if is_over():
            return
        await asyncio.sleep(0)


async def leave_loop(assembly: Assembly) -> None:
    """End what belongs to the running loop: reply queues and their receivers, and running handlers' processes."""
    for id, driver in assembly.drivers.items():
        for close in assembly.services[id].closing:
            await close(driver)
    if assembly.hooks is not None:
        await assembly.hooks.finish()
    await assembly.stop_handlers()


class HandlerLimits:
    """Interrupts overdue handlers; a handler counts from when it is first seen running."""

    def __init__(self) -> None:
        self._ends: dict[PoolWorker, tuple[Delivery, float]] = {}
        """The running deliveries that have a limit, and when they end, in the loop's time."""

    def left(self, consumers: Sequence[Consumer]) -> float | None:
        """Seconds until the next handler is overdue; None: none has a limit."""
        now = asyncio.get_running_loop().time()
        known, self._ends = self._ends, {}
        for worker, delivery, limit in _running(consumers):
            seen = known.get(worker)
            is_known = seen is not None and seen[0] is delivery
            self._ends[worker] = seen if seen is not None and is_known else (delivery, now + limit)
        return max(min(end for _, end in self._ends.values()) - now, 0.0) if self._ends else None

    def interrupt(self) -> None:
        """Interrupt the overdue handlers."""
        now = asyncio.get_running_loop().time()
        for worker, (delivery, end) in self._ends.items():
            if end <= now and worker.delivery is delivery:
                worker.interrupt("timeout")


def _running(consumers: Sequence[Consumer]) -> Iterator[tuple[PoolWorker, Delivery, float]]:
    """The running handlers that have a limit: their consumer's, or their task's."""
    for consumer in consumers:
        for worker in consumer.now.workers:
            if worker.delivery is not None and worker.cause is None and worker.limit is not None:
                yield worker, worker.delivery, worker.limit
