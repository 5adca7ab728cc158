"""Pool: the workers of a consumer, and the buffer that they take deliveries from.

A worker is a task that is made when a delivery finds no idle one, and then handles many: no task is made for a message,
and none for a worker that is not needed. The buffer has one owner at a time, and a delivery goes from it to a worker
without a suspension in between, so a cancellation cannot lose one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from itertools import count

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.outcome import Cause
from tasuki.consumers.handling.suspects import Suspects
from tasuki.consumers.settling.verdict import RELEASE
from tasuki.observe.log import HANDLED
from tasuki.observe.trace import CURRENT

_RANK: dict[Cause | None, int] = {None: 0, "timeout": 1, "cancel": 2, "stop": 3}
"""A later cause takes the place of one with a lower rank."""
_TURN = 0.005
"""Seconds after which the workers let the loop go round, once the handler that runs has ended."""


@dataclass(eq=False, slots=True)
class Worker:
    """One of the pool's long-lived tasks, and what it is doing."""

    task: asyncio.Task[None] | None = None
    delivery: Delivery | None = None
    started: float = 0.0
    """Monotonic time at which the running handler started."""
    ended: float = 0.0
    """Monotonic time at which the last handler ended, or its message was turned away."""
    limit: float | None = None
    """Seconds that the running handler may take; None: as long as it likes."""
    cause: Cause | None = None
    """Why the running handler was cancelled, if it was."""
    is_last: bool = False
    """It takes no other delivery after the running one."""

    @property
    def most(self) -> float | None:
        """Seconds that the running handler may take, by the rules of its message, else of its consumer."""
        own: float | None = None if self.delivery is None else getattr(self.delivery.holder, "own_limit", None)
        return self.limit if own is None else own

    def interrupt(self, cause: Cause) -> bool:
        """Cancel the running handler, once for a cause; a stop also after an interrupt that the handler ignored."""
        if self.delivery is None or self.task is None or _RANK[self.cause] >= _RANK[cause]:
            return False
        self.cause = cause
        return self.task.cancel()


def _of_no_message() -> Context:
    """This context, without the variables of the handler whose message or whose end needs a worker."""
    context = copy_context()
    context.run(CURRENT.set, None)
    context.run(HANDLED.set, None)
    return context


class Pool:
    """Up to ``concurrency`` workers; ``execute`` handles one delivery, ``on_empty`` is called at the end of the buffer.

    ``suspects`` decides when a suspect may start; None: suspects start like all messages. ``limit``: the seconds that a
    handler may take, unless ``execute`` sets others. ``on_end`` gets the task of a worker that has ended before the
    pool was drained, or with it. While ``is_ending`` says so, no worker is made.

    Handlers that compute hold the event loop for 5 ms, or for as long as one of them computes if that is longer: when a
    turn is over, all workers rest until the loop has gone round.
    """

    def __init__(
        self,
        name: str,
        concurrency: int,
        execute: Callable[[Delivery, Worker], Awaitable[None]],
        on_empty: Callable[[], None],
        suspects: Suspects | None = None,
        *,
        monotonic: Callable[[], float],
        limit: float | None = None,
        on_end: Callable[[asyncio.Task[None]], None] | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.concurrency = concurrency
        self._name = name
        self._execute = execute
        self._on_empty = on_empty
        self._suspects = suspects
        if suspects is not None:
            suspects.on_turn = self._call
        self._limit = limit
        self._on_end = on_end
        self._is_ending = is_ending
        self.workers: list[Worker] = []
        """The workers that were needed so far, idle ones too."""
        self._numbers = count()
        self._context = _of_no_message()
        self.buffer: deque[Delivery] = deque()
        self._ready = self.buffer
        """Where workers take deliveries from: the buffer itself, unless a delivery needs more than a free worker."""
        self._idle: deque[asyncio.Future[None]] = deque()
        self._blocked: asyncio.Future[None] | None = None
        """Resolved when the only worker may go on past a suspect whose turn had not come."""
        self._monotonic = monotonic
        self._turn_end = 0.0
        self._resting = False
        self._ramping = False
        self._stopped = False

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return sum(worker.delivery is not None for worker in self.workers)

    @property
    def unstarted(self) -> int:
        """Messages that wait for a worker, or for their turn as a suspect."""
        parked = () if self._suspects is None else self._suspects.parked
        return sum(len(each.deliveries) for each in (*self.buffer, *parked))

    @property
    def has_free_worker(self) -> bool:
        """Whether a worker has nothing to do. The only one that keeps its place behind a suspect is not free."""
        is_blocked = self._blocked is not None and not self._blocked.done()
        return not is_blocked and self.running < self.concurrency

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Put deliveries into the buffer, in order, and wake or make workers."""
        self.buffer.extend(deliveries)
        if not self._ramping:
            self._ramp_up(1)

    def use(self, execute: Callable[[Delivery, Worker], Awaitable[None]]) -> None:
        """Handle later deliveries with this function; running ones go on."""
        self._execute = execute

    def waiting(self) -> list[Delivery]:
        """Everything that has not started."""
        return [*self.buffer, *(() if self._suspects is None else self._suspects.parked)]

    def take_back(self) -> list[Delivery]:
        """Everything that has not started, newest first; the buffer is empty after it."""
        parked = [] if self._suspects is None else self._suspects.take_back()
        unstarted = [*reversed(self.buffer), *reversed(parked)]
        self.buffer.clear()
        self._unblock()
        return unstarted

    def _ramp_up(self, count: int) -> None:
        """Start one worker, then twice as many each turn of the loop for as long as the buffer does not empty.

        A handler that never waits is best served by one worker, a slow one by all; which it is, time tells.
        """
        self._ramping = False
        if self._resting or self._stopped:
            return
        for _ in range(min(count, len(self._ready))):
            if not self._start_worker():
                return
        if self._ready and (self._idle or len(self.workers) < self.concurrency):
            self._ramping = True
            asyncio.get_running_loop().call_soon(self._ramp_up, count * 2)

    def _start_worker(self) -> bool:
        """Wake an idle worker, or make one; False: all are at work."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return True
        if len(self.workers) >= self.concurrency or self._is_ending():
            return False
        worker = Worker(limit=self._limit)
        self.workers.append(worker)
        name = f"{self._name} worker {next(self._numbers)}"
        loop = asyncio.get_running_loop()
        worker.task = loop.create_task(self._work(worker), name=name, context=self._context.copy())
        if self._on_end is not None:
            worker.task.add_done_callback(self._on_end)
        return True

    async def _work(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        self._begin_turn()
        while not worker.is_last:
            if not self._ready or self._resting:
                if self._is_surplus and not self._ready:
                    self._forget(worker)
                    return
                HANDLED.set(None)  # an idle worker keeps no message alive
                idle = loop.create_future()
                self._idle.append(idle)
                await idle
                self._begin_turn()
                continue
            delivery = self._ready.popleft()
            if not self._ready:
                self._on_empty()
            execute = self._execute
            if delivery.received.suspect and self._suspects is not None:
                if not self._suspects.begin(delivery):
                    await self._keep_order()
                    continue
                execute = self._execute_suspect
            worker.delivery = delivery
            try:
                await execute(delivery, worker)
            except Exception:
                delivery.conclude(RELEASE)  # a defect of ours ends this worker, and must not keep the message
                raise
            finally:
                worker.delivery = None
            if worker.ended >= self._turn_end and self._ready and not self._resting:
                self._resting = True
                loop.call_soon(self._end_rest)
        self._leave(worker)

    def _begin_turn(self) -> None:
        if (now := self._monotonic()) >= self._turn_end:
            self._turn_end = now + _TURN

    @property
    def _is_surplus(self) -> bool:
        """Whether a worker with nothing to do ends; else it waits for the next delivery."""
        return False

    def _leave(self, worker: Worker) -> None:
        """A worker ends, as it is one too many; at a stop it stays in the list."""
        if not self._stopped:
            self._forget(worker)
            if not self._ramping:
                self._ramp_up(1)  # it may have been woken for a delivery, or the number was raised again

    def _forget(self, worker: Worker) -> None:
        self.workers.remove(worker)
        if self._on_end is not None and worker.task is not None:
            worker.task.remove_done_callback(self._on_end)

    def _end_rest(self) -> None:
        self._resting = False
        if not self._ramping:
            self._ramp_up(1)

    async def _execute_suspect(self, delivery: Delivery, worker: Worker) -> None:
        assert self._suspects is not None
        try:
            await self._execute(delivery, worker)
        finally:
            self._suspects.ended(delivery)

    async def _keep_order(self) -> None:
        """With one worker, let the messages behind a parked suspect wait for it; several workers have no order."""
        if self.concurrency == 1:
            self._blocked = asyncio.get_running_loop().create_future()
            await self._blocked

    def _call(self, suspect: Delivery) -> None:
        """Put a parked suspect back at the head of the buffer: the gate is open."""
        self.buffer.appendleft(suspect)
        self._unblock()
        if not self._ramping:
            self._ramp_up(1)

    def _unblock(self) -> None:
        if self._blocked is not None and not self._blocked.done():
            self._blocked.set_result(None)

    def resize(self, concurrency: int) -> None:
        """Change how many deliveries run at the same time; running ones end, and idle workers go first."""
        self.concurrency = concurrency
        for number, worker in enumerate(sorted(self.workers, key=lambda each: each.delivery is None)):
            worker.is_last = number >= concurrency
        self._unblock()
        self._wake_idle()
        if not self._ramping:
            self._ramp_up(1)

    def _wake_idle(self) -> None:
        """Let workers without a delivery see whether they are needed."""
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        self._idle.clear()

    async def drain(self, timeout: float) -> bool:
        """Let the running handlers finish and the workers end; False if some still run after ``timeout`` seconds."""
        self._stopped = True
        for worker in self.workers:
            worker.is_last = True
        self._unblock()
        self._wake_idle()
        tasks = [worker.task for worker in self.workers if worker.task is not None and not worker.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        return all(task.done() for task in tasks)

    def interrupt(self) -> list[Delivery]:
        """Cancel the handlers that still run; returns their deliveries, each only the first time."""
        return [worker.delivery for worker in self.workers if worker.delivery is not None and worker.interrupt("stop")]
