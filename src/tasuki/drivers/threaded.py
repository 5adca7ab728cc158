"""Threaded: any driver, with all its broker I/O on a thread and an event loop of its own.

For brokers that bind deliveries to a connection with heartbeats: a handler that blocks the application's loop must not
stop them. Each call costs two hops between threads; see docs/adr/0008-where-broker-io-runs.md for when that pays.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tasuki.contracts.driver import (
    Depth,
    Driver,
    Durability,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.message import Message

T = TypeVar("T")


class Threaded(Driver):
    """Gives every verb to an inner driver on a private thread, which lives from ``open`` to ``close``.

    A call that is cancelled loses nothing: what a receive took anyway is released; a settlement, a purge and a
    delete are carried out.
    """

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner.name)
        # A transaction of the caller's stays on the caller's loop, and cannot be taken to another.
        self.capabilities = replace(inner.capabilities, transactional=False)  # type: ignore[misc]
        self._inner = inner
        self._specs: dict[str, QueueSpec] = {}
        self._loop: LoopThread | None = None
        self._closing: asyncio.Task[None] | None = None
        self._changing: asyncio.Lock | None = None
        self._changing_on: asyncio.AbstractEventLoop | None = None

    @property
    def durability(self) -> Durability:
        """See Driver."""
        return self._inner.durability

    def durability_of(self, queue: str) -> Durability:
        """See Driver."""
        return self._inner.durability_of(queue)

    @property
    def patience(self) -> float | None:
        """See Driver."""
        return self._inner.patience

    async def open(self) -> None:
        """Start the thread, and open the inner driver there."""
        async with self._one_at_a_time():
            if self._loop is not None and self._loop.is_here:
                return
            self._loop = loop = LoopThread(f"tasuki {self.name}")
            is_open = False
            try:
                await loop.call(self._open)
                is_open = True
            finally:
                if not is_open:
                    self._loop = None
                    loop.stop()

    async def _open(self) -> None:
        for spec in self._specs.values():
            await self._inner.declare(spec)
        await self._inner.open()

    async def close(self) -> None:
        """Close the inner driver, and end its thread; it goes on to its end if the caller is cancelled."""
        self._closing = asyncio.get_running_loop().create_task(self._close(), name="close driver")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        async with self._one_at_a_time():
            loop, self._loop = self._loop, None
            if loop is None or not loop.is_here:
                return
            try:
                await loop.call(self._inner.close, is_whole=True)
            finally:
                loop.stop()

    async def declare(self, spec: QueueSpec) -> None:
        """See Driver; before ``open`` it is noted."""
        if self._loop is not None:
            await self._loop.call(lambda: self._inner.declare(spec))
        self._specs[spec.name] = spec

    async def undeclare(self, queue: str) -> None:
        """See Driver."""
        self._specs.pop(queue, None)
        if self._loop is not None:
            await self._loop.call(lambda: self._inner.undeclare(queue), is_whole=True)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """See Driver."""
        return await self._running(spec.name).call(lambda: self._inner.inspect(spec))

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """See Driver."""
        messages = list(batch)
        return await self._running(queue).call(lambda: self._inner.publish(queue, messages))

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """See Driver."""

        async def give_back(received: list[Received]) -> None:
            if received:
                await self._inner.settle(queue, [Release(delivery.receipt) for delivery in received])

        return await self._running(queue).call(lambda: self._inner.receive(queue, limit, wait), give_back)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """See Driver."""
        receipts = list(batch)
        return await self._running(queue).call(lambda: self._inner.start(queue, receipts), is_whole=True)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """See Driver."""
        settlements = list(batch)
        return await self._running(queue).call(lambda: self._inner.settle(queue, settlements), is_whole=True)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """See Driver; called from any loop."""
        receipts = list(batch)
        return await self._running(queue).call(lambda: self._inner.extend(queue, receipts, lease))

    async def depth(self, queue: str) -> Depth:
        """See Driver."""
        return await self._running(queue).call(lambda: self._inner.depth(queue))

    async def attach(self, queue: str, consumers: int) -> None:
        """See Driver."""
        await self._running(queue).call(lambda: self._inner.attach(queue, consumers), is_whole=True)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """See Driver."""
        return await self._running(queue).call(lambda: self._inner.peek(queue, limit, after))

    async def purge(self, queue: str) -> int:
        """See Driver."""
        return await self._running(queue).call(lambda: self._inner.purge(queue), is_whole=True)

    async def delete(self, queue: str) -> None:
        """See Driver."""
        await self._running(queue).call(lambda: self._inner.delete(queue), is_whole=True)
        self._specs.pop(queue, None)

    def _running(self, queue: str) -> LoopThread:
        loop = self._loop
        if loop is None:
            problem = f"driver {self.name!r} is not open; open it first"
            raise BrokerUnavailableError(problem, driver=self.name, queue=queue)
        if not loop.is_here:
            problem = f"driver {self.name!r} was opened by the parent process; open it in this one"
            raise BrokerUnavailableError(problem, driver=self.name, queue=queue)
        return loop

    def _one_at_a_time(self) -> asyncio.Lock:
        """The lock for opening and closing; the loops of the application may come and go."""
        loop = asyncio.get_running_loop()
        if self._changing is None or self._changing_on is not loop:
            self._changing, self._changing_on = asyncio.Lock(), loop
        return self._changing


class LoopThread:
    """A thread with an event loop; ``call`` runs coroutines there for callers on any loop."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._is_over = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether it runs in this process: a thread does not survive a fork."""
        return self._pid == os.getpid()

    async def call(
        self,
        verb: Callable[[], Coroutine[Any, Any, T]],
        undo: Callable[[T], Coroutine[Any, Any, None]] | None = None,
        *,
        is_whole: bool = False,
    ) -> T:
        """What the verb gives, on the thread.

        If the caller is cancelled, so is the verb, unless it must be carried out whole; what it gives all the same is
        undone.
        """
        call = _Call(asyncio.get_running_loop(), verb, undo, is_whole=is_whole)
        with self._lock:  # what comes after the stop, from another thread, would never be answered
            if self._is_over:
                raise BrokerUnavailableError("the driver was closed meanwhile")
            self._loop.call_soon_threadsafe(call.start)
        is_answered = False
        try:
            result: T = await call.answer
            is_answered = True
        finally:
            if not is_answered:
                call.abandon(self._loop)
        return result

    def stop(self) -> None:
        """End what still runs, and the thread."""
        with self._lock:
            self._is_over = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


class _Call:
    """One verb under way: started and answered on the private loop, awaited on the caller's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verb: Callable[[], Coroutine[Any, Any, Any]],
        undo: Callable[[Any], Coroutine[Any, Any, None]] | None,
        *,
        is_whole: bool,
    ) -> None:
        self.answer: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._verb = verb
        self._undo = undo
        self._is_whole = is_whole
        self._task: asyncio.Task[Any] | None = None
        self._is_abandoned = False

    def start(self) -> None:
        """On the private loop."""
        if self._is_abandoned and not self._is_whole:
            return
        self._task = asyncio.get_running_loop().create_task(self._verb())
        self._task.add_done_callback(self._finished)

    def abandon(self, private: asyncio.AbstractEventLoop) -> None:
        """On the caller's loop: nobody waits for the answer any more."""
        self._is_abandoned = True
        try:
            private.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            pass  # it has ended, and everything on it

    def _cancel(self) -> None:
        if self._task is None:
            return
        if self._task.done():
            self._take_back(self._task)
        elif not self._is_whole:
            self._task.cancel()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        if self._is_abandoned:
            self._take_back(task)
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, task)
        except RuntimeError:  # the caller's loop is closed
            self._take_back(task)

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        """On the caller's loop."""
        if self.answer.done():
            return  # cancelled meanwhile: ``abandon`` has been called, or will be
        if task.cancelled():
            self.answer.set_exception(BrokerUnavailableError("the driver was closed meanwhile"))
        elif (error := task.exception()) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())

    def _take_back(self, task: asyncio.Task[Any]) -> None:
        """Undo what was done for nobody; once, on the private loop."""
        undo, self._undo = self._undo, None
        if task.cancelled() or task.exception() is not None or undo is None:
            return
        undoing = asyncio.get_running_loop().create_task(self._undone(undo, task.result()))
        _undoing.add(undoing)
        undoing.add_done_callback(_undoing.discard)

    @staticmethod
    async def _undone(undo: Callable[[Any], Coroutine[Any, Any, None]], result: Any) -> None:
        try:
            await undo(result)
        except DriverError:
            pass  # the connection is lost, and with it what was to be given back


_undoing: set[asyncio.Task[None]] = set()
"""Tasks under way, of all drivers: a loop holds only weak references to them."""
