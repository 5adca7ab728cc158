"""Inbox: one reply queue, its pending requests, and the task that receives the replies."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from tasuki.backoff import UNTIL_BACK
from tasuki.contracts.driver import Ack, Nack, Received, Settlement
from tasuki.errors import DriverError, LifecycleError, QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.message import CORRELATION_ID, Message
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.app")

_BATCH = 100
_WAIT = 20.0
"""Seconds of one receive."""
_SHARED_WAIT = 0.5
"""The same for a declared queue, where receiving must end soon after the last request."""
_END_GRACE = 1.0
_NOT_OURS = 0.2
"""Seconds for which another process's reply is hidden in a declared queue, so that its own process can take it."""

_MOST_GIVEN_UP = 10_000
"""Timed-out requests that are remembered, so that their late replies are recognized."""
_UNCLAIMED = 300.0
"""Seconds after which a reply in a declared queue is removed if no process has taken it."""


class Inbox:
    """``is_own``: made for this process, and removed with it; else other processes may wait on the same queue."""

    def __init__(self, queue: Queue, *, is_own: bool) -> None:
        self.queue = queue
        self.is_own = is_own
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._given_up: OrderedDict[str, tuple[Queue, float]] = OrderedDict()
        self._put_back: OrderedDict[str, float] = OrderedDict()
        """Replies that seem to be for another process, by message id, and when each was first seen."""
        self._task: asyncio.Task[None] | None = None
        self._is_declared = not is_own
        self.problem: DriverError | None = None
        """Why the queue could not be made when that was last tried."""
        self._is_closed = False

    async def open(self) -> None:
        """Make the queue once; retry while the broker is unavailable. Raises DriverError if a retry cannot help."""
        failures = 0
        while not self._is_declared:
            try:
                await self.queue.driver.declare(self.queue.spec)
            except DriverError as error:
                if not error.retryable:
                    raise
                self.problem = error
                failures += 1
                await asyncio.sleep(UNTIL_BACK.delay(failures))
            else:
                self._is_declared, self.problem = True, None

    def expect(self, correlation_id: str) -> asyncio.Future[Message]:
        """The future reply; call ``forget`` when the request ends."""
        if self._is_closed:
            raise LifecycleError("the app was closed")
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = future
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"replies {self.queue.id}")
        return future

    def forget(self, correlation_id: str) -> None:
        """The request has ended."""
        self._waiting.pop(correlation_id, None)

    def give_up(self, correlation_id: str, queue: Queue) -> None:
        """The request to that queue has timed out, so its reply will be late."""
        self._given_up[correlation_id] = (queue, asyncio.get_running_loop().time())
        if len(self._given_up) > _MOST_GIVEN_UP:
            self._given_up.popitem(last=False)

    async def close(self) -> None:
        """Fail the pending requests, and remove the queue as far as the driver can. Idempotent."""
        self._is_closed = True
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(LifecycleError("the app was closed while it waited for a reply"))
        if (task := self._task) is not None:
            self._task = None
            task.cancel()
            await asyncio.wait([task], timeout=_END_GRACE)
        if self.is_own and self._is_declared:
            self._is_declared = False
            await self._remove()

    async def _remove(self) -> None:
        driver, name = self.queue.driver, self.queue.spec.name
        try:
            async with asyncio.timeout(_END_GRACE):
                try:
                    await driver.delete(name)
                except UnsupportedError:
                    await driver.purge(name)
        except (TasukiError, TimeoutError) as error:
            _log.debug("reply queue %s stays: %s", self.queue.id, error)

    async def _run(self) -> None:
        """Receive until cancelled, from a declared queue only while requests are pending; survives broker failures."""
        driver, name = self.queue.driver, self.queue.spec.name
        wait = _WAIT if self.is_own else _SHARED_WAIT
        failures = 0
        while self.is_own or self._waiting:
            try:
                batch = await driver.receive(name, min(_BATCH, driver.capabilities.max_batch), wait)
                if batch:
                    await driver.settle(name, [self._deliver(received) for received in batch])
                failures = 0
            except Exception as error:
                failures += 1
                if isinstance(error, DriverError):
                    _log.debug("reply queue %s: %s", self.queue.id, error)
                else:  # a driver's defect must not leave pending requests without a receiver
                    _log.exception("reply queue %s: the driver failed", self.queue.id)
                await asyncio.sleep(UNTIL_BACK.delay(failures))
                if isinstance(error, QueueNotFoundError):  # the broker lost the queue in a restart
                    await self._declare_again()

    async def _declare_again(self) -> None:
        try:
            await self.queue.driver.declare(self.queue.spec)
        except DriverError as error:
            _log.debug("reply queue %s: %s", self.queue.id, error)

    def _is_late(self, correlation_id: str) -> bool:
        """Whether the reply belongs to a timed-out request of this process; counted and logged, once."""
        queue, given_up_at = self._given_up.pop(correlation_id, (None, 0.0))
        if queue is None:
            return False
        queue.metrics.late_replies += 1
        late = asyncio.get_running_loop().time() - given_up_at
        _log.warning("queue %s: a reply came %.1f s after its request had timed out", queue.id, late)
        return True

    def _is_unclaimed(self, received: Received) -> bool:
        """Whether no process has taken the reply within ``_UNCLAIMED`` seconds; logged."""
        now = asyncio.get_running_loop().time()
        if now - self._put_back.setdefault(received.id, now) < _UNCLAIMED:
            if len(self._put_back) > _MOST_GIVEN_UP:
                self._put_back.popitem(last=False)
            return False
        del self._put_back[received.id]
        _log.warning("queue %s: a reply that no process has waited for was removed", self.queue.id)
        return True

    def _deliver(self, received: Received) -> Settlement:
        """Complete the reply's request; returns the settlement of the reply."""
        correlation_id = str(received.headers.get(CORRELATION_ID, ""))
        future = self._waiting.pop(correlation_id, None)
        if future is None or future.done():
            is_over = self._is_late(correlation_id) or self.is_own or self._is_unclaimed(received)
            return Ack(received.receipt) if is_over else Nack(received.receipt, _NOT_OURS)
        signer = self.queue.signer
        if signer is not None and (problem := signer.verify(received)) is not None:
            _log.warning("a reply in %s was refused: %s", self.queue.id, problem)
            self._waiting[str(received.headers[CORRELATION_ID])] = future
            return Ack(received.receipt)
        future.set_result(Message(received.id, received.body, received.headers))
        return Ack(received.receipt)
