"""Queue: the publishing side of one declared queue."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Depth, Driver, Durability, Occupancy, Outgoing, QueueSpec
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.message import TIMESTAMP, HeaderValue, Message, new_id
from tasuki.observe.metrics import QueueMetrics
from tasuki.queues.batcher import Batcher
from tasuki.queues.demand import Demand
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.messages.message_builder import Composer, Envelope, seconds
from tasuki.queues.messages.reply_to import check_reply_to
from tasuki.queues.messages.signature import Signer
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.result import Confirmed, PublishResult, Rejected, Unknown

if TYPE_CHECKING:
    from tasuki.security.guard import Guard

__all__ = ["PUBLISH_TIMEOUT", "Envelope", "Queue", "QueuePolicy"]

_PLAIN = frozenset({dict, list, str, int, float, bool, type(None)})

Carry = Callable[[Sequence[Outgoing]], Awaitable[list[DriverError | None]]]
"""Another way to the broker than the queue's own: one result a message, in order."""

PUBLISH_TIMEOUT = 10.0
"""Seconds within which a publish is decided, unless the caller says otherwise."""


class Queue:
    """One declared queue on its driver; publishing, and looking into it. For one event loop."""

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
        self._composer = Composer(id, driver=driver, codec=codec, codecs=codecs, policy=policy, clock=clock)
        self.signer = Signer(id, codec.name, policy.signing) if policy.signing else None
        self.demand = Demand(id, driver, spec.name)
        self.guard: Guard | None = None
        """Whose rights are checked at each call; None: nobody's."""
        self.origin: Queue | None = None
        """The queue that this one is a guarded view of."""
        self._batcher = Batcher(driver, spec.name, block_when_full=policy.overflow == "block")

    def guarded_by(self, guard: Guard) -> Queue:
        """The same queue for somebody who needs permission: what is not allowed raises PolicyDeniedError."""
        queue = copy.copy(self)
        queue.guard, queue.origin = guard, self
        return queue

    @property
    def durability(self) -> Durability:
        """What a confirmed message survives."""
        return self.demand.given

    async def publish(
        self,
        body: Any,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        delay: float | str = 0.0,
        ttl: float | str | None = None,
        priority: int | None = None,
        key: str | None = None,
        id: str | None = None,
        timeout: float | str = PUBLISH_TIMEOUT,
        connection: Any = None,
    ) -> Confirmed:
        """Publish one message; returns when the broker has taken responsibility for it.

        Args:
            body: any value that the queue's codec can carry, or bytes.
            headers: text to bool, int (64 bit), finite float or text; ``attempts`` and ``x_…`` are reserved.
            delay: not before that much time has passed (``5s`` or seconds).
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
            PublishError, CodecError: the message is not one that can be published.
            DriverError: rejected (``outcome == "rejected"``: nothing was stored) or unknown (then publish again with
                the same id, which the error's ``message_id`` holds).
        """
        if self.guard is not None:
            self.guard.publish(self.id)
            check_reply_to(self.guard, self.id, headers)
        message = self._composer.compose(body, headers, delay, ttl, priority, key, id)
        return await self._send(message, seconds("timeout", timeout), connection)

    async def publish_by(self, carry: Carry, body: Any, headers: Mapping[str, HeaderValue]) -> Confirmed:
        """Publish one message by another way, such as together with an ack; else as ``publish``."""
        if self.guard is not None:
            self.guard.publish(self.id)
            check_reply_to(self.guard, self.id, headers)
        message = self._composer.compose(body, headers, 0.0, None, None, None, None)
        return await self._send(message, PUBLISH_TIMEOUT, carry=carry)

    async def _send(
        self, message: Outgoing, timeout: float, connection: Any = None, carry: Carry | None = None
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

    async def _publish_within(self, connection: Any, messages: Sequence[Outgoing]) -> list[DriverError | None]:
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
        return results

    async def publish_many(
        self, items: Sequence[Any], *, timeout: float | str = PUBLISH_TIMEOUT, connection: Any = None
    ) -> list[PublishResult]:
        """Publish bodies, or :class:`Envelope` objects; one result for each, in order; never raises for one.

        ``connection``: see ``publish``; look at the results before you commit.

        Raises:
            PolicyDeniedError: the actor may not publish to it.
        """
        if self.guard is not None:
            self.guard.publish(self.id)
        limit = seconds("timeout", timeout)
        results: list[PublishResult | None] = []
        messages: list[Outgoing] = []
        plain = _PLAIN if self.policy.message_ttl is None else frozenset()
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
        if refusal := self.demand.refusal():
            errors: list[DriverError | None] = [refusal] * len(messages)
        elif connection is None:
            errors = await self._batcher.publish(messages, limit) if messages else []
        else:
            errors = await self._publish_within(connection, messages)
        durability = self.demand.given
        if len(messages) == len(results) and not any(errors):
            self.metrics.published += len(messages)
            return [Confirmed(message.id, durability) for message in messages]
        answers = zip(messages, errors, strict=True)
        told = iter([self._result(message.id, self._advised(message, error)) for message, error in answers])
        return [result if result is not None else next(told) for result in results]

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
        """How many messages it holds."""
        self._require("queue.info.queue", "see")
        with self._telling():
            return await self.driver.depth(self.spec.name)

    async def occupancy(self) -> Occupancy:
        """Whether it holds messages; cheaper than ``depth`` where there are many."""
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

    async def delete(self) -> None:
        """Remove it from its broker with all its messages; a process that still declares it makes it again."""
        self._require("queue.admin.delete", "delete")
        with self._telling():
            await self.driver.delete(self.spec.name)

    def decode(self, message: Message) -> Any:
        """The body as a plain value. Raises CodecError or InvalidBodyError."""
        return (self._composer.named_codec(message.headers) or self.codec).decoder()(message.body)

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
        """The same error, or for a priority that the queue was not declared for one that says what to do."""
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
        """What a driver says that is not open, or does not know its queues yet, is why it is not."""
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


def _own_copy(error: DriverError) -> DriverError:
    """A batch shares one error; each publisher gets its own, with the same cause."""
    try:
        own = copy.copy(error)
    except TypeError:  # a driver's own subclass that is made in another way
        return error
    own.__cause__ = error.__cause__
    return own
