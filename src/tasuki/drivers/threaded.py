"""Threaded: any driver, with all its broker I/O on a thread and an event loop of its own.

For brokers that bind deliveries to a connection with heartbeats: a handler that blocks the application's loop must not
stop them. Each call costs two hops between threads; see docs/adr/0008-where-broker-io-runs.md for when that pays.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
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
from tasuki.helper_threads import HelperThread
from tasuki.message import Message

_LETTING_GO = 1.0
"""Seconds to close what a loop that failed has left."""

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
            try:
                loop = LoopThread(f"tasuki {self.name}", self._reopen)
            except (OSError, RuntimeError) as error:  # files or threads are short
                problem = f"cannot start the thread of driver {self.name!r}: {error}"
                raise BrokerUnavailableError(problem, driver=self.name) from error
            self._loop = loop
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

    async def _reopen(self) -> None:
        """On a new loop, after the old one failed: what belonged to that is let go as far as it can be."""
        with suppress(Exception):
            async with asyncio.timeout(_LETTING_GO):
                await self._inner.close()
        await self._open()

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
                if loop.failure is None:
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
    """A thread with an event loop; ``call`` runs coroutines there for callers on any loop.

    If the loop fails, all calls fail with it, and a new one begins with ``begin_again``.
    """

    def __init__(self, name: str, begin_again: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        self.failure: BaseException | None = None
        """Why it does not work now."""
        self._pid = os.getpid()
        self._begin_again = begin_again
        self._loop = asyncio.new_event_loop()
        self._calls: set[_Call] = set()
        self._is_over = False
        self._lock = threading.Lock()
        self._helper = HelperThread(name, self._run)
        try:
            self._helper.start()
        except BaseException:
            self._loop.close()
            raise

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
            if self.failure is not None:
                raise _unavailable(self.failure)
            loop = self._loop
            loop.call_soon_threadsafe(call.start)
            self._calls.add(call)
        is_answered = False
        try:
            result: T = await call.answer
            is_answered = True
        finally:
            self._calls.discard(call)
            if not is_answered:
                call.abandon(loop)
        return result

    def stop(self) -> None:
        """End what still runs, and the thread."""
        with self._lock:
            self._is_over = True
            self._helper.stop()
            with suppress(RuntimeError):  # its loop has failed
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._helper.join()

    def _run(self, helper: HelperThread) -> None:
        if self.failure is not None:
            with self._lock:
                self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            if self.failure is not None and self._begin_again is not None:
                self._loop.run_until_complete(self._begin_again())
            self.failure = None
            helper.works()
            self._loop.run_forever()
            if not self._is_over:
                raise RuntimeError("its event loop was stopped")
            self._end()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            asyncio.set_event_loop(None)
            with suppress(OSError):  # its files may be what failed
                self._loop.close()

    def _end(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    def _fail(self, error: BaseException) -> None:
        """Let nobody wait for an answer that does not come."""
        with self._lock:
            self.failure = error
            calls, self._calls = self._calls, set()
        for call in calls:
            call.fail(_unavailable(error))


def _unavailable(failure: BaseException) -> BrokerUnavailableError:
    problem = f"the thread of the driver failed and begins again: {type(failure).__name__}: {failure}"
    error = BrokerUnavailableError(problem, outcome="unknown")
    error.__cause__ = failure
    return error


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

    def fail(self, error: DriverError) -> None:
        """On any thread: the private loop has failed."""
        with suppress(RuntimeError):  # the caller's loop is closed
            self._loop.call_soon_threadsafe(lambda: None if self.answer.done() else self.answer.set_exception(error))

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
