"""Queue: publish to one declared queue, and inspect it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Depth, Driver, Durability, Occupancy, Outgoing, QueueSpec
from tasuki.contracts.observer import Observer
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.handlers.body import make_decoder
from tasuki.message import TIMESTAMP, HeaderValue, Message, new_id
from tasuki.observe.metrics import QueueMetrics
from tasuki.queues.batcher import Batcher
from tasuki.queues.demand import Demand
from tasuki.queues.messages.body_type import BodyType, TypedComposer
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.messages.message_builder import Composer, Envelope, seconds
from tasuki.queues.messages.reply_to import check_reply_to
from tasuki.queues.messages.signature import Signer
from tasuki.queues.middleware import Carry, PublishMiddleware, Sending, Through
from tasuki.queues.observing import tell
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.result import Confirmed, PublishResult, Rejected, Unknown
from tasuki.units import Duration

if TYPE_CHECKING:
    from tasuki.security.guard import Guard

__all__ = ["PUBLISH_TIMEOUT", "Envelope", "Queue", "QueuePolicy"]

_PLAIN: frozenset[type] = frozenset({dict, list, str, int, float, bool, type(None)})

PUBLISH_TIMEOUT = 10.0
"""Seconds within which a publish is decided, unless the caller says otherwise."""


class Queue:
    """One declared queue on its driver: publish to it and inspect it. For one event loop."""

    def __init__(
        self,
        id: str,
        *,
        driver: Driver,
        spec: QueueSpec,
        codec: Codec,
        codecs: Codecs,
        policy: QueuePolicy,
        clock: Clock,
        middleware: Sequence[Callable[[], PublishMiddleware]] = (),
        body: BodyType | None = None,
    ) -> None:
        self.id = id
        self.driver = driver
        self.spec = spec
        self.codec = codec
        self.codecs = codecs
        self.policy = policy
        self.metrics = QueueMetrics(queue=id, driver=driver.name)
        self.consumer_count = 0
        """Consumers of this queue that run in this process."""
        self._clock = clock
        self._composer = _composer(id, body, driver=driver, codec=codec, codecs=codecs, policy=policy, clock=clock)
        self._made_at_once = _made_at_once(policy, body)
        self.signer = Signer(id, codec.name, policy.signing) if policy.signing else None
        self.demand = Demand(id, driver, spec.name)
        self.guard: Guard | None = None
        """The rights that each call checks; None: no checks."""
        self.origin: Queue | None = None
        """The queue that this one is a guarded view of."""
        self._through = Through(middleware, self._publish_one) if middleware else None
        self._on_batch: Callable[..., None] | None = None
        self._batcher = Batcher(driver, spec.name, block_when_full=policy.overflow == "block")

    def observe(self, observers: Iterable[Observer]) -> None:
        """Report each published batch to these observers from now on, and to no others."""
        told = tell(observers, "on_publish")
        self._batcher.on_batch = self._on_batch = None if told is None else partial(told, self.id)

    def guarded_by(self, guard: Guard) -> Queue:
        """The same queue with permission checks: a forbidden call raises PolicyDeniedError."""
        queue = copy.copy(self)
        queue.guard, queue.origin = guard, self
        return queue

    @property
    def durability(self) -> Durability:
        """What a confirmed message survives."""
        return self.demand.given

    async def publish(
        self,
        body: object,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        delay: Duration = 0.0,
        ttl: Duration | None = None,
        priority: int | None = None,
        key: str | None = None,
        id: str | None = None,
        timeout: Duration = PUBLISH_TIMEOUT,
        connection: object = None,
    ) -> Confirmed:
        """Publish one message and wait for the broker's confirmation.

        Args:
            body: any value that the queue's codec can carry, or bytes; where code declares a type for the queue, one
                of that type, or what reads as one.
            headers: text to bool, int (64 bit), finite float or text; ``attempts`` and ``x_…`` are reserved.
            delay: not before that much time has passed (``5s``, seconds or a ``timedelta``).
            ttl: expires after that much time; default the queue's ``message_ttl``.
            priority: 0 to 9, 9 first.
            key: messages of one key keep their order in a queue with ``ordering: key``.
            id: the message's id; default a new UUIDv7.
            timeout: decided within that much time; a full queue is waited for as long.
            connection: a database connection or session of the caller's, on a driver that is ``transactional``: the
                message is published inside its transaction, so it is confirmed if and when the caller commits. A full
                queue is not waited for, and ``timeout`` says nothing: the transaction is the caller's.

        Raises:
            PolicyDeniedError: the actor may not publish to it, or not to the queue that the header ``reply_to`` names.
            PublishError, CodecError: the message is not one that can be published; BodyTypeError: its body is not of
                the queue's type.
            DriverError: rejected (``outcome == "rejected"``: nothing was stored) or unknown (then publish again with
                the same id, which the error's ``message_id`` holds).
        """
        if self.guard is not None:
            self.guard.publish(self.id)
            check_reply_to(self.guard, self.id, headers)
        if self._through is not None:
            delay, ttl = seconds("delay", delay), None if ttl is None else seconds("ttl", ttl)
            envelope = Envelope(body=body, headers=headers, delay=delay, ttl=ttl, priority=priority, key=key, id=id)
            return await self._through.publish(envelope, Sending(seconds("timeout", timeout), connection))
        message = self._composer.compose(body, headers, delay, ttl, priority, key, id)
        return await self._send(message, seconds("timeout", timeout), connection)

    async def _publish_one(self, envelope: Envelope[Any], sending: Sending) -> Confirmed:
        return await self._send(self._composer.compose_item(envelope), *sending)

    async def publish_by(self, carry: Carry, body: Any, headers: Mapping[str, HeaderValue]) -> Confirmed:
        """Publish one message by another way, such as together with an ack; else as ``publish``."""
        if self.guard is not None:
            self.guard.publish(self.id)
            check_reply_to(self.guard, self.id, headers)
        if self._through is not None:
            return await self._through.publish(
                Envelope(body=body, headers=headers), Sending(PUBLISH_TIMEOUT, carry=carry)
            )
        message = self._composer.compose(body, headers, 0.0, None, None, None, None)
        return await self._send(message, PUBLISH_TIMEOUT, carry=carry)

    async def _send(
        self, message: Outgoing, timeout: float, connection: object = None, carry: Carry | None = None
    ) -> Confirmed:
        if self.signer is not None:
            self.signer.sign((message,))
        if self.demand.level is not None and (refusal := self.demand.refusal()) is not None:
            raise self._failed(message.id, refusal)
        if carry is not None:
            error = (await carry((message,)))[0]
        elif connection is None:
            error = (await self._batcher.publish((message,), timeout))[0]
        else:
            error = (await self._publish_within(connection, (message,)))[0]
        if error is not None:
            raise self._failed(message.id, self._advised(message, error))
        self.metrics.published += 1
        return Confirmed(message.id, self.demand.given)

    async def _publish_within(self, connection: object, messages: Sequence[Outgoing]) -> list[DriverError | None]:
        """Publish in the caller's transaction; one result each, in order."""
        results: list[DriverError | None] = []
        size = self.driver.capabilities.max_batch
        for start in range(0, len(messages), size):
            batch = messages[start : start + size]
            try:
                told = await self.driver.publish_within(connection, self.spec.name, batch)
            except DriverError as error:
                told = [error] * len(batch)
            results += told or [None] * len(batch)
            if self._on_batch is not None:
                self._on_batch(batch, results[start:])
        return results

    async def publish_many(
        self, items: Sequence[object], *, timeout: Duration = PUBLISH_TIMEOUT, connection: object = None
    ) -> list[PublishResult]:
        """Publish bodies, or :class:`Envelope` objects; one result for each, in order; never raises for one.

        ``connection``: see ``publish``; look at the results before you commit.

        Raises:
            PolicyDeniedError: the actor may not publish to it.
        """
        if self.guard is not None:
            self.guard.publish(self.id)
        limit = seconds("timeout", timeout)
        if self._through is not None:
            return await self._through.publish_each(items, Sending(limit, connection), self._checked)
        results: list[PublishResult | None] = []
        messages: list[Outgoing] = []
        plain = self._made_at_once
        stamp, encode, largest = int(self._clock.time()), self.codec.encode, self.policy.max_message_size
        for item in items:
            try:
                # Most items are bodies and nothing else: those are made here, without a call for each.
                if type(item) in plain and len(body := encode(item)) <= largest:
                    messages.append(Outgoing(new_id(), body, {TIMESTAMP: stamp}))
                else:
                    if self.guard is not None and isinstance(item, Envelope):
                        check_reply_to(self.guard, self.id, item.headers)
                    messages.append(self._composer.compose_item(item))
                results.append(None)
            except TasukiError as error:
                id = item.id if isinstance(item, Envelope) and item.id else ""
                results.append(Rejected(id, error, False))
        if self.signer is not None:
            self.signer.sign(messages)
        errors = await self._publish_all(messages, limit, connection)
        durability = self.demand.given
        if len(messages) == len(results) and not any(errors):
            self.metrics.published += len(messages)
            return [Confirmed(message.id, durability) for message in messages]
        answers = zip(messages, errors, strict=True)
        told = iter([self._result(message.id, self._advised(message, error)) for message, error in answers])
        return [result if result is not None else next(told) for result in results]

    async def _publish_all(
        self, messages: Sequence[Outgoing], limit: float, connection: Any
    ) -> Sequence[DriverError | None]:
        if refusal := self.demand.refusal():
            return [refusal] * len(messages)
        if connection is not None:
            return await self._publish_within(connection, messages)
        return await self._batcher.publish(messages, limit) if messages else []

    def _checked(self, item: Any) -> Envelope[Any]:
        """The item as an envelope of its own. Raises PolicyDeniedError: its replies may not go where it says."""
        envelope = copy.copy(item) if type(item) is Envelope else Envelope(body=item)
        if self.guard is not None:
            check_reply_to(self.guard, self.id, envelope.headers)
        return envelope

    async def forward(
        self, messages: Sequence[Outgoing], *, timeout: float = PUBLISH_TIMEOUT, carry: Carry | None = None
    ) -> list[DriverError | None]:
        """Publish messages that exist already (dead letters, redrives) as they are; one result each, in order.

        Their ids may well be known to the queue: none is taken for a duplicate. ``carry``: by another way.
        """
        if refusal := self.demand.refusal():
            return [refusal] * len(messages)
        for message in messages:
            message.deduplicate = False
        results = await (carry(messages) if carry else self._batcher.publish(messages, timeout))
        self.metrics.published += results.count(None)
        return results

    async def depth(self) -> Depth:
        """The number of messages in the queue."""
        self._require("queue.info.queue", "see")
        with self._telling():
            return await self.driver.depth(self.spec.name)

    async def occupancy(self) -> Occupancy:
        """Whether the queue has messages; cheaper than ``depth`` where there are many."""
        self._require("queue.info.queue", "see")
        with self._telling():
            return await self.driver.occupancy(self.spec.name)

    async def info(self) -> dict[str, Any]:
        """Its ids and counts: what :class:`Depth` says, their sum as ``message_count``, and ``consumer_count``.

        ``is_estimate`` is there, and true, only if there were too many messages to count.
        """
        depth = await self.depth()
        origin = self.origin or self
        return {
            "queue": self.id,
            "driver": self.driver.name,
            "message_count": depth.ready + depth.in_flight + depth.delayed,
            "ready": depth.ready,
            "in_flight": depth.in_flight,
            "delayed": depth.delayed,
            "consumer_count": origin.consumer_count if depth.consumers is None else depth.consumers,
            "oldest_age": depth.oldest_age,
            **({"is_estimate": True} if depth.is_estimate else {}),
        }

    async def peek(self, limit: int = 10, after: int = 0) -> list[Message]:
        """Show up to ``limit`` waiting messages from number ``after`` on, without taking them."""
        self._require("queue.admin.peek", "look into")
        with self._telling():
            return await self.driver.peek(self.spec.name, limit, after)

    async def purge(self) -> int:
        """Remove all messages that no consumer holds; returns how many."""
        self._require("queue.admin.purge", "purge")
        with self._telling():
            return await self.driver.purge(self.spec.name)

    async def remove(self, ids: Collection[str]) -> int:
        """Remove the messages of these ids that no consumer holds; returns how many."""
        self._require("queue.admin.remove", "remove messages from")
        with self._telling():
            return await self.driver.remove(self.spec.name, ids)

    async def delete(self) -> None:
        """Delete the queue with all its messages; a process that still declares it makes it again."""
        self._require("queue.admin.delete", "delete")
        with self._telling():
            await self.driver.delete(self.spec.name)

    def decode(self, message: Message, type_: Any = Any) -> Any:
        """The body as a plain value, or as a type. Raises CodecError or InvalidBodyError."""
        codec = self._composer.named_codec(message.headers) or self.codec
        return make_decoder(codec, type_)(message.body)

    def _require(self, action: str, verb: str) -> None:
        if self.guard is not None:
            self.guard.require(action, self.id, f"not allowed to {verb} queue: {self.id}")

    def _result(self, id: str, error: DriverError | None) -> PublishResult:
        if error is None:
            self.metrics.published += 1
            return Confirmed(id, self.demand.given)
        error = self._failed(id, error)
        return Rejected(id, error, error.retryable) if error.outcome == "rejected" else Unknown(id, error)

    def _advised(self, message: Outgoing, error: DriverError | None) -> Any:
        """The same error, or, for a priority in a queue without priorities, one with the remedy."""
        if not (message.priority and isinstance(error, UnsupportedError)) or self.spec.priorities:
            return error
        if not self.driver.capabilities.declares_priorities:
            return error
        text = f"queue {self.id!r} was declared without priorities; {self.policy.priority_advice()}"
        told = UnsupportedError(text, driver=self.driver.name, queue=self.id)
        told.__cause__ = error
        return told

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Replace the error of a driver that is not open, or has not declared its queues, by the reason."""
        try:
            yield
        except (BrokerUnavailableError, QueueNotFoundError) as error:
            if (told := self._told(error)) is error:
                raise
            raise _own_copy(told) from told.__cause__

    def _told(self, error: DriverError) -> DriverError:
        problem = self.driver.problem
        if problem is None or not isinstance(error, BrokerUnavailableError | QueueNotFoundError):
            return error
        return problem

    def _failed(self, id: str, error: DriverError) -> DriverError:
        error = _own_copy(self._told(error))
        error.message_id = id
        if error.outcome == "rejected":
            self.metrics.rejected += 1
        else:
            self.metrics.unknown += 1
        return error


def _made_at_once(policy: QueuePolicy, body: BodyType | None) -> frozenset[type]:
    """The types whose bodies need no more than to be encoded."""
    if policy.message_ttl is not None:
        return frozenset()
    return _PLAIN if body is None else frozenset(type_ for type_ in _PLAIN if type_ is body.type_)


def _composer(queue: str, body: BodyType | None, **parts: Any) -> Composer:
    return Composer(queue, **parts) if body is None else TypedComposer(queue, body, **parts)


def _own_copy(error: DriverError) -> DriverError:
    """A batch shares one error; each publisher gets its own, with the same cause."""
    try:
        own = copy.copy(error)
    except TypeError:  # a driver's own subclass that is made in another way
        return error
    own.__cause__ = error.__cause__
    return own
