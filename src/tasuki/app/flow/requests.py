"""Request and reply: publish, wait for the reply in a reply queue of this process, and serve repliers' reply queues."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tasuki.backoff import UNTIL_BACK
from tasuki.clock import Clock
from tasuki.consumers.settling.replies import ERROR, RequesterGoneError
from tasuki.contracts.driver import Ack, Driver, Nack, QueueSpec, Received, Settlement
from tasuki.errors import (
    DriverError,
    HandlerError,
    InvalidBodyError,
    LifecycleError,
    PublishError,
    QueueNotFoundError,
    RequestTimeoutError,
    TasukiError,
    UnsupportedError,
)
from tasuki.handlers.body import check_type
from tasuki.message import CORRELATION_ID, MESSAGE_TYPE, REPLY_TO, HeaderValue, Message
from tasuki.queues.messages.body_type import type_name
from tasuki.queues.messages.message_builder import seconds
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed
from tasuki.units import Duration, format_duration

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


NAMESPACE = "reply"
"""The ids of these queues are ``reply:<32 hexadecimal digits>``; policies may name ``reply:*``."""


_ID = re.compile(rf"{NAMESPACE}:[0-9a-f]{{32}}", re.ASCII)

_REMEMBERED = 100
"""Most reply queues of other processes that a driver keeps, besides the ones in use."""


def new_reply_id() -> str:
    """An id that no client can guess: any client that knows the id may reply."""
    return f"{NAMESPACE}:{uuid.uuid4().hex}"


def is_reply_id(name: str) -> bool:
    """Whether ``new_reply_id`` could have made the id; no other queue has such a name."""
    return _ID.fullmatch(name) is not None


def _broker_name(id: str) -> str:
    return id.replace(":", ".")


def reply_queue(id: str, request: Queue, clock: Clock) -> Queue:
    """The reply queue of this id for requests to a queue: on the same driver, with the same codec, limit and keys."""
    queue = Queue(
        id,
        driver=request.driver,
        spec=QueueSpec(_broker_name(id), temporary=True),
        codec=request.codec,
        codecs=request.codecs,
        policy=QueuePolicy(max_message_size=request.policy.max_message_size, signing=request.policy.signing),
        clock=clock,
    )
    queue.tracing = None if request.tracing is None else request.tracing.for_replies(id)
    return queue


class ForeignReplyQueues:
    """The reply queues of other processes that this one replies to; creates none, and forgets the oldest ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[Driver, str], _Foreign] = OrderedDict()

    @asynccontextmanager
    async def lend(self, id: str, request: Queue) -> AsyncIterator[Queue]:
        """The reply queue of this id, to publish to within the block.

        Raises:
            RequesterGoneError: the broker does not have it, or the block raises QueueNotFoundError.
            DriverError: the broker cannot tell now.
        """
        key = (request.driver, id)
        foreign = self._known.setdefault(key, _Foreign())
        self._known.move_to_end(key)
        foreign.users += 1
        try:
            yield await foreign.queue_for(id, request, self._clock)
        except QueueNotFoundError as error:
            foreign.is_gone = True
            raise RequesterGoneError(str(error), driver=error.driver, queue=id) from error
        finally:
            foreign.users -= 1
            if foreign.is_gone:
                await self._forget(key)
            elif len(self._known) > _REMEMBERED:
                await self._forget(next((key for key, known in self._known.items() if not known.users), key))

    async def _forget(self, key: tuple[Driver, str]) -> None:
        """Forget one, unless it is in use (again)."""
        foreign = self._known.get(key)
        if foreign is not None and await foreign.forget(*key) and self._known.get(key) is foreign:
            del self._known[key]

    async def close(self, driver: Driver) -> None:
        """Forget the queues of a driver that is about to be closed."""
        for key in [key for key in self._known if key[0] is driver]:
            del self._known[key]


@dataclass(eq=False, slots=True)
class _Foreign:
    """One reply queue; ``users`` is the number of publishes to it now."""

    is_gone: bool = False
    queues: dict[str, Queue] = field(default_factory=dict)
    """By the id of the requests' queue, whose codec and keys the replies use."""
    users: int = 0
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def queue_for(self, id: str, request: Queue, clock: Clock) -> Queue:
        """The reply queue with the codec and keys of the requests' queue; the first call inspects it at the broker."""
        async with self._changing:
            queue = self.queues.get(request.id)
            if queue is None:
                queue = reply_queue(id, request, clock)
                if not self.queues:
                    await queue.driver.inspect(queue.spec)
                self.queues[request.id] = queue
            return queue

    async def forget(self, driver: Driver, id: str) -> bool:
        """Make the driver forget the queue; False: it is in use."""
        async with self._changing:
            if self.users:
                return False
            self.queues.clear()
            try:
                await driver.undeclare(_broker_name(id))
            except DriverError as error:  # it costs some memory; the reply was published
                _log.debug("reply queue %s is not forgotten: %s", id, error)
            return not self.users


Keys = tuple[object, ...]
"""The keys that sign the replies of a reply queue; empty: replies are not signed."""


_PATIENCE = 1.0
"""Seconds that the store has to say how many consumers there are."""


class Requests:
    """The requests of one process; its reply queues are made when they are first needed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._own: dict[tuple[Driver, Keys], Inbox] = {}
        self._declared: dict[Queue, Inbox] = {}

    async def ask(
        self,
        queue: Queue,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        *,
        returns: Any = None,
        reply_to: Queue | None,
        timeout: Duration,
        options: Mapping[str, Any],
    ) -> Any:
        """Publish, and return the handler's result. See :meth:`tasuki.App.request`."""
        _check(headers, returns, options)
        if queue.guard is not None:
            queue.guard.publish(queue.id)
        target = queue.origin or queue  # unguarded: we choose the reply queue, so no policy need allow it
        limit = seconds("reply_timeout", timeout)
        target.check_loop()  # before the reply queue is opened here
        inbox = self._inbox(queue, reply_to)
        correlation_id = uuid.uuid4().hex
        sent = {**(headers or {}), REPLY_TO: inbox.queue.id, CORRELATION_ID: correlation_id}
        try:
            async with asyncio.timeout(limit):
                await inbox.open()
                reply = inbox.expect(correlation_id)
                _check_outcome(await target.publish(body, sent, publish_timeout=limit, **options), queue.id)
                message = await reply
        except TimeoutError:
            if inbox.problem is not None:  # nothing was published
                raise inbox.problem from None
            inbox.give_up(correlation_id, queue)
            raise RequestTimeoutError(
                f"queue {queue.id!r}: no reply within {format_duration(limit)}; {await _why(queue)}"
            ) from None
        finally:
            inbox.forget(correlation_id)
        return _result(inbox.queue, message, returns, queue.id)

    def _inbox(self, queue: Queue, reply_to: Queue | None) -> Inbox:
        if reply_to is not None:
            origin = reply_to.origin or reply_to
            return self._declared.setdefault(origin, Inbox(origin, is_own=False))
        signing = queue.policy.signing
        keys = () if signing is None else (signing.required, *signing.keys.items())  # the same ones after a reload
        key = (queue.driver, keys)
        if (inbox := self._own.get(key)) is None:
            inbox = self._own[key] = Inbox(reply_queue(new_reply_id(), queue, self._clock), is_own=True)
        return inbox

    async def close(self, driver: Driver) -> None:
        """Close the reply queues of this driver; pending requests raise LifecycleError."""
        mine = [key for key in self._own if key[0] is driver]
        theirs = [queue for queue in self._declared if queue.driver is driver]
        inboxes = [*(self._own.pop(key) for key in mine), *(self._declared.pop(queue) for queue in theirs)]
        await asyncio.gather(*(inbox.close() for inbox in inboxes))


def _check(headers: Mapping[str, HeaderValue] | None, returns: Any, options: Mapping[str, Any]) -> None:
    for name in (REPLY_TO, CORRELATION_ID):
        if headers and name in headers:
            raise PublishError(f"header {name!r} of a request is set by the request itself")
    if "connection" in options:
        raise PublishError("a request cannot wait for a reply within the caller's own transaction")
    if returns is not None:
        check_type(returns)


async def _why(queue: Queue) -> str:
    """What a requester without a reply should know; the store may take a second to say who consumes."""
    count: int | None = queue.consumer_count
    if not count and queue.find_consumers is not None:
        count = None
        with suppress(TasukiError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                count = await queue.find_consumers()
    if count == 0:
        return (
            "no worker consumes it, so the message waits: start one with 'tasuki run', or in this program with "
            "'async with app.worker():'"
        )
    return "the message may still be handled; a longer time is reply_timeout='1m'"


def _check_outcome(confirmed: Confirmed, queue: str) -> None:
    """Raise PublishError for a request that another message was kept for: nothing would reply to it."""
    if confirmed.outcome == "kept":
        problem = f"queue {queue!r}: message {confirmed.id!r} has the unique key of this request and was kept"
        raise PublishError(f"{problem}, so there will be no reply; publish it, or request with another key")


def _result(replies: Queue, message: Message, returns: Any, asked: str) -> Any:
    """The result in a reply from the queue ``asked``, converted to the type ``returns`` if there is one.

    Raises:
        HandlerError: the reply carries an error.
        InvalidBodyError: the result does not fit the type, or is larger than its queue takes.
    """
    if message.headers.get(MESSAGE_TYPE) != ERROR:
        try:
            return replies.decode(message, Any if returns is None else returns)
        except InvalidBodyError as error:
            if returns is None:
                raise
            problem = f"queue {asked!r}: the reply is not the {type_name(returns)} that returns names: {error}"
            raise InvalidBodyError(problem, kind="Invalid", retryable=False) from error
    body = replies.decode(message)
    told: dict[str, Any] = body if isinstance(body, dict) else {"message": str(body)}
    retryable = told.get("retryable")
    raise HandlerError(
        str(told.get("message", "")),
        kind=str(told.get("kind", "")),
        retryable=retryable if isinstance(retryable, bool) else None,
    )
