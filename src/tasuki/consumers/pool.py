"""Pool: the workers of a consumer, and the buffer that they take deliveries from.

The workers live as long as the consumer: no task is made for a message. The buffer has one owner at a time, and a
delivery goes from it to a worker without a suspension in between, so a cancellation cannot lose one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.verdict import RELEASE

_TURN = 32
"""Messages after which a worker whose handler never waits lets the loop breathe."""

Cause = Literal["timeout", "stop"]


class Worker:
    """One of the pool's long-lived tasks, and what it is doing."""

    __slots__ = ("cause", "delivery", "started", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.delivery: Delivery | None = None
        self.started = 0.0
        """Monotonic time at which the running handler started."""
        self.cause: Cause | None = None
        """Why the running handler was cancelled, if it was."""

    def interrupt(self, cause: Cause) -> None:
        """Cancel the running handler, once for a cause; a stop also after a timeout that the handler ignored."""
        if self.delivery is not None and self.task is not None and self.cause not in (cause, "stop"):
            self.cause = cause
            self.task.cancel()


class Pool:
    """``concurrency`` workers; ``execute`` treats one delivery, ``on_empty`` hears when the buffer is used up."""

    def __init__(
        self,
        name: str,
        concurrency: int,
        execute: Callable[[Delivery, Worker], Awaitable[None]],
        on_empty: Callable[[], None],
    ) -> None:
        self._name = name
        self._execute = execute
        self._on_empty = on_empty
        self.workers = [Worker() for _ in range(concurrency)]
        self.buffer: deque[Delivery] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._ramping = False
        self._stopped = False

    def start(self) -> None:
        """Make the workers."""
        loop = asyncio.get_running_loop()
        for number, worker in enumerate(self.workers):
            worker.task = loop.create_task(self._work(worker), name=f"{self._name} worker {number}")

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return sum(worker.delivery is not None for worker in self.workers)

    def offer(self, deliveries: list[Delivery]) -> None:
        """Put deliveries into the buffer, in order, and wake workers."""
        self.buffer.extend(deliveries)
        if not self._ramping:
            self._ramp_up(1)

    def take_back(self) -> list[Delivery]:
        """Everything that has not started, newest first; the buffer is empty after it."""
        unstarted = list(reversed(self.buffer))
        self.buffer.clear()
        return unstarted

    def _ramp_up(self, count: int) -> None:
        """Wake one worker, then twice as many each turn of the loop for as long as the buffer does not empty.

        A handler that never waits is best served by one worker, a slow one by all; which it is, time tells.
        """
        self._ramping = False
        for _ in range(min(count, len(self.buffer))):
            if not self._idle:
                return
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
        if self.buffer and self._idle:
            self._ramping = True
            asyncio.get_running_loop().call_soon(self._ramp_up, count * 2)

    async def _work(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        turn = _TURN
        while not self._stopped:
            if not self.buffer:
                idle = loop.create_future()
                self._idle.append(idle)
                await idle
                continue
            worker.delivery = delivery = self.buffer.popleft()
            if not self.buffer:
                self._on_empty()
            try:
                await self._execute(delivery, worker)
            except Exception:
                delivery.conclude(RELEASE)  # a defect of ours ends this worker, and must not keep the message
                raise
            finally:
                worker.delivery = None
            turn -= 1
            if not turn:
                turn = _TURN
                await asyncio.sleep(0)

    async def drain(self, timeout: float) -> bool:
        """Let the running handlers finish and the workers end; False if some still run after ``timeout`` seconds."""
        self._stopped = True
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        tasks = [worker.task for worker in self.workers if worker.task is not None and not worker.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        return all(task.done() for task in tasks)

    def interrupt(self) -> list[Delivery]:
        """Cancel the handlers that still run; returns their deliveries."""
        running = [worker for worker in self.workers if worker.delivery is not None]
        for worker in running:
            worker.interrupt("stop")
        return [worker.delivery for worker in running if worker.delivery is not None]
