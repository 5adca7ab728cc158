"""Batcher: joins concurrent publishes of one queue into batches as large as the driver takes.

No caller waits for a batch to fill: a publish starts at once when none is under way, and later publishes form the next
batch. The batcher waits for room in a full queue, in the same way for all drivers, up to each caller's
deadline, and keeps the order of publishing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, NamedTuple

from tasuki.backoff import Backoff
from tasuki.contracts.driver import Answers, Driver, Merged, Outgoing
from tasuki.errors import (
    BrokerTimeoutError,
    DriverError,
    KeyBusyError,
    LifecycleError,
    Outcome,
    QueueFullError,
    ThrottledError,
)
from tasuki.observe.metrics import Histogram

Result = DriverError | Merged | None

PAUSES = Backoff(initial_delay=0.02, max_delay=0.5, backoff_factor=2.0)
"""Seconds between two attempts."""


class _Waiting(NamedTuple):
    message: Outgoing
    deadline: float
    is_given_up: Callable[[], bool]
    resolve: Callable[[Result], None]


class BusyKeys:
    """The busy keys of one batcher. ``publish`` stores a batch, and returns one result a message.

    ``waits_for_room``: when a message finds its queue full, too.
    """

    def __init__(
        self, publish: Callable[[list[Outgoing]], Awaitable[Sequence[Result]]], *, waits_for_room: bool = False
    ) -> None:
        self._publish = publish
        self._again = (KeyBusyError, QueueFullError) if waits_for_room else (KeyBusyError,)
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def add(
        self,
        message: Outgoing,
        deadline: float,
        is_given_up: Callable[[], bool],
        resolve: Callable[[Result], None],
    ) -> None:
        """Try a message again until ``deadline`` by the loop's clock, and tell the last result.

        ``is_given_up``: whether its publisher has gone, so that it is not tried any more.
        """
        self._waiting.append(_Waiting(message, deadline, is_given_up, resolve))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="publish busy keys")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._waiting:
            failures += 1
            await asyncio.sleep(min(PAUSES.delay(failures), max(self._first() - loop.time(), 0.0)))
            tried, self._waiting = [each for each in self._waiting if not each.is_given_up()], []
            if not tried:
                continue
            results = await self._publish([each.message for each in tried])
            for each, result in zip(tried, results, strict=True):
                if isinstance(result, self._again) and loop.time() < each.deadline:
                    self._waiting.append(each)
                else:
                    each.resolve(result)
                    failures = 0

    def _first(self) -> float:
        return min(each.deadline for each in self._waiting)


MAX_PENDING = 10_000
"""Most messages that wait in this process for one queue; further ones are rejected as throttled."""


_BUSY = "earlier publishes took until the deadline; nothing was stored: publish again, or give a longer timeout"

_FULL_WAIT = 0.002

_FULL_WAIT_MAX = 0.05

_FULL_MARGIN_MAX = 1.0
"""Most seconds before its deadline at which a publish fails as the queue is full: one slow answer proves little."""

_SWEEP = 0.05


Results = list[DriverError | Merged | None]


class _Request:
    """One caller's messages; ``results`` grows in order until all are decided."""

    __slots__ = ("deadline", "done", "messages", "results", "waiting")

    def __init__(self, messages: Sequence[Outgoing], deadline: float, done: asyncio.Future[None]) -> None:
        self.messages = messages
        self.deadline = deadline
        self.done = done
        self.results: Results = []
        self.waiting = 0
        """Results that still change, as the unique keys of their messages are busy."""

    @property
    def undecided(self) -> int:
        return len(self.messages) - len(self.results)

    def decide(self, error: DriverError) -> None:
        """Give all remaining messages the same result, unless the caller no longer waits."""
        if not self.done.done():
            self.results += [error] * self.undecided
            self.finish()

    def finish(self) -> None:
        if not self.undecided and not self.waiting and not self.done.done():
            self.done.set_result(None)

    def change(self, index: int, result: DriverError | Merged | None) -> None:
        """Give a message whose key was busy its last result."""
        self.results[index] = result
        self.waiting -= 1
        self.finish()


class Batcher:
    """Publishes to one queue of one driver in batches, for the event loop in which it is made."""

    def __init__(self, driver: Driver, queue: str, *, block_when_full: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._driver = driver
        self._queue = queue
        self.took = Histogram()
        """Seconds that the driver took for each batch."""
        self._max_batch = driver.capabilities.max_batch
        self._block = block_when_full
        self._pending: deque[_Request] = deque()
        self._pending_messages = 0
        self._under_way: list[_Request] = []
        self._full: QueueFullError | None = None
        self._attempt_time = 0.0
        self._busy = False
        self._flusher: asyncio.Task[None] | None = None
        self._alone: asyncio.Task[Any] | None = None
        """The caller that publishes in its own task, which is cancelled at ``_deadline``."""
        self._deadline = inf
        self._is_overdue = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweeps_at = inf
        self._busy_keys = self._make_busy_keys()
        self.on_batch: Callable[[Sequence[Outgoing], Results], None] | None = None
        """Called with each batch that the driver has answered for; None: not observed."""

    def use_running_loop(self) -> None:
        """Publish from the running event loop from now on. Raises LifecycleError while a publish is under way."""
        loop = asyncio.get_running_loop()
        if self._busy and loop is not self._loop:
            raise LifecycleError(f"queue {self._queue!r}: a publish of another event loop is under way")
        if loop is not self._loop:
            self._loop, self._busy_keys = loop, self._make_busy_keys()
            self._sweeper, self._sweeps_at = None, inf  # the other loop may never run it

    def _make_busy_keys(self) -> BusyKeys:
        return BusyKeys(self._call_driver, waits_for_room=self._block)

    def check_loop(self) -> None:
        """Raise LifecycleError if this runs in another event loop."""
        if asyncio.get_running_loop() is not self._loop:
            raise LifecycleError(
                f"queue {self._queue!r} was opened in another event loop, so it cannot be published to from this one: "
                "use asyncio.run_coroutine_threadsafe(…, app._runtime.loop), or open another App here"
            )

    async def publish(self, messages: Sequence[Outgoing], timeout: float) -> Results:
        """Publish in order; one result per message, as the driver gives it. Ends within ``timeout`` seconds.

        Raises:
            LifecycleError: this runs in another event loop.
        """
        loop = self._loop
        if asyncio.get_running_loop() is not loop:
            self.check_loop()
        began = loop.time()
        if not self._busy and len(messages) <= self._max_batch:
            return await self._publish_alone(messages, began, began + timeout)
        request = _Request(messages, began + timeout, loop.create_future())
        if self._busy:
            if self._pending and self._pending_messages + len(messages) > MAX_PENDING:
                request.decide(self._error(ThrottledError, f"{self._pending_messages} messages already wait"))
                return request.results
            self._pending.append(request)
            self._pending_messages += len(messages)
        else:
            self._flush_pending()
            self._wait_first(request)
        if request.deadline < self._sweeps_at:
            self._sweep_by(request.deadline)
        if request.undecided or request.waiting:
            await request.done
        return request.results

    async def publish_within(self, connection: object, messages: Sequence[Outgoing]) -> Results:
        """Publish in order in the caller's transaction; one result per message. Neither waits nor joins batches."""
        results: Results = []
        for start in range(0, len(messages), self._max_batch):
            batch = messages[start : start + self._max_batch]
            try:
                told: Answers = await self._driver.publish_within(connection, self._queue, batch)
            except DriverError as error:
                told = [error] * len(batch)
            results += told or [None] * len(batch)
            if self.on_batch is not None:
                self.on_batch(batch, results[start:])
        return results

    async def _publish_alone(self, messages: Sequence[Outgoing], began: float, deadline: float) -> Results:
        """Publish in the caller's task while nothing else is under way; other callers' messages follow.

        The sweeper cancels it at its deadline: a timer for each publish would cost as much as the publish.
        """
        self._busy, self._full, self._is_overdue = True, None, False
        self._alone = task = asyncio.current_task()
        self._deadline = deadline
        cancelling = 0 if task is None else task.cancelling()
        if deadline < self._sweeps_at:
            self._sweep_by(deadline)
        try:
            results = await self._call_driver(messages)
        except asyncio.CancelledError:
            if not self._is_overdue or task is None or task.uncancel() > cancelling:
                raise
            results = [self._timed_out()] * len(messages)
        else:
            if self._is_overdue and task is not None:
                task.uncancel()  # the answer came at the same moment
        finally:
            self._alone, self._busy = None, bool(self._pending)
            self._attempt_time = self._loop.time() - began
            self.took.observe(self._attempt_time)
            if self._busy:
                self._flush_pending()
        if self.on_batch is not None:
            self._tell(messages, results)
        return results if not any(results) else await self._decided(messages, deadline, results)

    async def _decided(self, messages: Sequence[Outgoing], deadline: float, results: Results) -> Results:
        """The results once all are the last ones: a full queue may have room soon, and a busy key may be free."""
        request = _Request(messages, deadline, self._loop.create_future())
        self._note([(request, messages)], results)
        if request.undecided:
            self._sweep_by(deadline)
            if not self._busy:
                self._flush_pending()
            self._wait_first(request)
        if request.undecided or request.waiting:
            await request.done
        return request.results

    def _wait_first(self, request: _Request) -> None:
        self._busy = True
        self._pending.appendleft(request)
        self._pending_messages += len(request.messages)

    def _flush_pending(self) -> None:
        self._flusher = self._loop.create_task(self._flush(), name=f"publish {self._queue}")

    async def _flush(self) -> None:
        """Publish waiting messages, batch by batch, until none wait."""
        full_wait = _FULL_WAIT
        try:
            while self._pending:
                taken = self._take()
                try:
                    async with asyncio.timeout_at(max(request.deadline for request in taken)):
                        await self._attempt(taken)
                except TimeoutError:
                    for request in taken:
                        request.decide(self._timed_out())
                    self._drop_decided()
                if self._full is None:
                    full_wait = _FULL_WAIT
                    if self._pending:
                        await asyncio.sleep(0)  # a driver that never waits must not hold the loop for all of it
                elif self._pending:
                    await asyncio.sleep(full_wait)
                    full_wait = min(full_wait * 2, _FULL_WAIT_MAX)
                    # Who could not learn in time what became of another attempt learns now that there was no room.
                    self._expire_overdue(min(2 * self._attempt_time, _FULL_MARGIN_MAX))
        finally:
            self._busy = False

    def _take(self) -> list[_Request]:
        """The first requests that fit into one batch together (a larger one goes alone, in pieces)."""
        taken: list[_Request] = []
        size = 0
        for request in self._pending:
            if taken and size + request.undecided > self._max_batch:
                break
            taken.append(request)
            size += request.undecided
        return taken

    async def _attempt(self, requests: list[_Request]) -> None:
        """Publish the undecided messages of the requests once, and note the results."""
        parts = [(request, request.messages[len(request.results) :]) for request in requests if not request.done.done()]
        batch = [message for _, messages in parts for message in messages]
        self._full = None
        if batch:
            self._under_way = requests
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                results = await self._call_driver(batch[: self._max_batch])
            finally:
                self._under_way = []
                self._attempt_time = loop.time() - began
                self.took.observe(self._attempt_time)
            self._tell(batch, results)
            self._note(parts, results)
        self._drop_decided()

    async def _call_driver(self, batch: Sequence[Outgoing]) -> Results:
        try:
            results = await self._driver.publish(self._queue, batch)
        except DriverError as error:
            return [error] * len(batch)
        except Exception as error:  # a driver's defect must not leave its callers waiting
            return self._defect(batch, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._defect(batch, error)  # the caller did not cancel: a client library lost its connection
        if not results:
            return [None] * len(batch)
        if len(results) != len(batch):
            return self._defect(
                batch, ValueError(f"the driver returned {len(results)} results for {len(batch)} messages")
            )
        return list(results)

    def _defect(self, batch: Sequence[Outgoing], error: BaseException) -> Results:
        failed = self._error(DriverError, f"the driver failed: {error!r}", outcome="unknown")
        failed.__cause__ = error
        return [failed] * len(batch)

    def _note(self, parts: list[tuple[_Request, Sequence[Outgoing]]], results: Results) -> None:
        """Give each request its results; messages that a full queue rejected stay undecided if the queue blocks."""
        if self._block:
            for i, result in enumerate(results):
                if isinstance(result, QueueFullError):
                    self._full = result
                    results = results[:i]
                    break
        start = 0
        for request, messages in parts:
            if not request.done.done():  # else its caller stopped waiting while the batch was under way
                told = results[start : start + len(messages)]
                if any(told):
                    self._wait_for_keys(request, messages, told)
                request.results += told
                request.finish()
            start += len(messages)

    def _wait_for_keys(self, request: _Request, messages: Sequence[Outgoing], told: Results) -> None:
        """Publish messages whose keys are busy apart from all batches: others do not wait for them."""
        first = len(request.results)
        for index, result in enumerate(told):
            if isinstance(result, KeyBusyError):
                request.waiting += 1
                resolve = partial(self._change, request, first + index, messages[index])
                self._busy_keys.add(messages[index], request.deadline, request.done.done, resolve)

    def _change(self, request: _Request, index: int, message: Outgoing, result: DriverError | Merged | None) -> None:
        if self.on_batch is not None:
            self.on_batch([message], [result])
        request.change(index, result)

    def _tell(self, batch: Sequence[Outgoing], results: Results) -> None:
        """Report the decided ones: a message whose key is busy is tried again."""
        if self.on_batch is None:
            return
        told = list(zip(batch, results, strict=False))
        if any(isinstance(result, KeyBusyError) for result in results):
            told = [pair for pair in told if not isinstance(pair[1], KeyBusyError)]
        if told:
            self.on_batch([message for message, _ in told], [result for _, result in told])

    def _drop_decided(self) -> None:
        while self._pending and (self._pending[0].done.done() or not self._pending[0].undecided):
            self._pending_messages -= len(self._pending.popleft().messages)

    def _sweep_by(self, deadline: float) -> None:
        """Sweep in 50 ms, or at a deadline that is sooner."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeps_at = min(self._loop.time() + _SWEEP, deadline)
        self._sweeper = self._loop.call_at(self._sweeps_at, self._sweep)

    def _sweep(self) -> None:
        """End the wait of callers whose deadline has passed, repeatedly for as long as any caller waits."""
        self._sweeper, self._sweeps_at = None, inf
        if self._alone is not None and self._deadline <= self._loop.time() and not self._is_overdue:
            self._is_overdue = True
            self._alone.cancel()
        self._expire_overdue()
        if self._pending or (self._alone is not None and not self._is_overdue):
            self._sweep_by(inf if self._alone is None else self._deadline)

    def _expire_overdue(self, margin: float = 0.0) -> None:
        now = asyncio.get_running_loop().time() + margin
        for request in self._pending:
            if request.deadline <= now:
                sent = request in self._under_way
                request.decide(self._timed_out() if sent else self._full or self._error(ThrottledError, _BUSY))
        # Also requests behind one that waits: they must not count towards the limit any more.
        self._pending = deque(request for request in self._pending if not request.done.done())
        self._pending_messages = sum(len(request.messages) for request in self._pending)

    def _timed_out(self) -> DriverError:
        return self._error(BrokerTimeoutError, "no answer within the deadline; publish again with the same id")

    def _error(self, type_: type[DriverError], reason: str, outcome: Outcome | None = None) -> DriverError:
        text = f"queue {self._queue!r}: {reason}"
        return type_(text, driver=self._driver.name, queue=self._queue, outcome=outcome)
