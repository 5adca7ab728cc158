"""Queue: the publishing side of one declared queue."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from tasuki.backoff import Backoff
from tasuki.clock import Clock
from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Depth, Driver, Durability, Outgoing, QueueSpec
from tasuki.errors import DriverError, MessageTooLargeError, PublishError, TasukiError
from tasuki.message import (
    CONTENT_TYPE,
    EXPIRES_AT,
    PARTITION_KEY,
    PRIORITY,
    TIMESTAMP,
    HeaderValue,
    Message,
    new_id,
)
from tasuki.observe.metrics import QueueMetrics
from tasuki.queues.batcher import Batcher
from tasuki.queues.codec import BYTES, Codecs
from tasuki.queues.headers import check_headers, check_name, check_priority
from tasuki.queues.result import Confirmed, PublishResult, Rejected, Unknown
from tasuki.security.guard import Guard
from tasuki.units import parse_duration

_BYTES_LIKE = (bytes, bytearray, memoryview)
_PLAIN = frozenset({dict, list, str, int, float, bool, type(None)})

PUBLISH_TIMEOUT = 10.0
"""Seconds within which a publish is decided, unless the caller says otherwise."""


class Envelope(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A body with what the publisher wants to say beside it; durations in seconds or as text (``5s``)."""

    body: Any
    headers: Mapping[str, HeaderValue] | None = None
    delay: float | str = 0.0
    ttl: float | str | None = None
    priority: int | None = None
    key: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What the framework itself enforces for a queue; sizes in bytes, durations in seconds."""

    max_message_size: int = 1024 * 1024
    message_ttl: float | None = None
    overflow: Literal["block", "reject"] = "block"
    dead_letter: str | None = None
    """Id of the dead-letter queue."""
    max_attempts: int = 5
    drop_expired: bool = False
    retry: Backoff = field(default_factory=Backoff)


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
        return self.driver.durability

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

        Raises:
            PolicyDeniedError: the actor may not publish to it.
            PublishError, CodecError: the message is not one that can be published.
            DriverError: rejected (``outcome == "rejected"``: nothing was stored) or unknown (then publish again with
                the same id, which the error's ``message_id`` holds).
        """
        if self.guard is not None:
            self.guard.publish(self.id)
        message = self._outgoing(body, headers, delay, ttl, priority, key, id)
        error = (await self._batcher.publish((message,), _seconds("timeout", timeout)))[0]
        if error is not None:
            raise self._failed(message.id, error)
        self.metrics.published += 1
        return Confirmed(message.id, self.driver.durability)

    async def publish_many(
        self, items: Sequence[Any], *, timeout: float | str = PUBLISH_TIMEOUT
    ) -> list[PublishResult]:
        """Publish bodies, or :class:`Envelope` objects; one result for each, in order; never raises for one.

        Raises:
            PolicyDeniedError: the actor may not publish to it.
        """
        if self.guard is not None:
            self.guard.publish(self.id)
        seconds = _seconds("timeout", timeout)
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
                    messages.append(self._enveloped(item))
                results.append(None)
            except TasukiError as error:
                id = item.id if isinstance(item, Envelope) and item.id else ""
                results.append(Rejected(id, error, False))
        errors = await self._batcher.publish(messages, seconds) if messages else []
        durability = self.driver.durability
        if len(messages) == len(results) and not any(errors):
            self.metrics.published += len(messages)
            return [Confirmed(message.id, durability) for message in messages]
        told = iter([self._result(message.id, error) for message, error in zip(messages, errors, strict=True)])
        return [result if result is not None else next(told) for result in results]

    async def forward(
        self, messages: Sequence[Outgoing], *, timeout: float = PUBLISH_TIMEOUT
    ) -> list[DriverError | None]:
        """Publish messages that exist already (dead letters, redrives) as they are; one result each, in order."""
        results = await self._batcher.publish(messages, timeout)
        self.metrics.published += results.count(None)
        return results

    async def depth(self) -> Depth:
        """How many messages it holds."""
        self._require("queue.info.queue", "see")
        return await self.driver.depth(self.spec.name)

    async def info(self) -> dict[str, Any]:
        """Its ids and counts: what :class:`Depth` says, their sum as ``message_count``, and ``consumer_count``."""
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
        }

    async def peek(self, limit: int = 10, after: int = 0) -> list[Message]:
        """Show up to ``limit`` waiting messages from number ``after`` on, without taking them."""
        self._require("queue.admin.peek", "look into")
        return await self.driver.peek(self.spec.name, limit, after)

    async def purge(self) -> int:
        """Remove all messages that no consumer holds; returns how many."""
        self._require("queue.admin.purge", "purge")
        return await self.driver.purge(self.spec.name)

    def decode(self, message: Message) -> Any:
        """The body as a plain value. Raises CodecError or InvalidBodyError."""
        return (self._named_codec(message.headers) or self.codec).decoder()(message.body)

    def _require(self, action: str, verb: str) -> None:
        if self.guard is not None:
            self.guard.require(action, self.id, f"not allowed to {verb} queue: {self.id}")

    def _outgoing(
        self,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        delay: float | str,
        ttl: float | str | None,
        priority: int | None,
        key: str | None,
        id: str | None,
    ) -> Outgoing:
        now = self._clock.time()
        sent: dict[str, HeaderValue] = {TIMESTAMP: int(now)}
        codec = self.codec
        if headers:
            sent.update(check_headers(headers))
            codec = self._named_codec(sent) or codec
        if ttl is not None or self.policy.message_ttl is not None:
            sent[EXPIRES_AT] = now + self._ttl(ttl)
        message = Outgoing(
            new_id() if id is None else check_name("message id", id), self._encode(body, sent, codec), sent
        )
        if delay:
            message.delay = _seconds("delay", delay)
        if headers or priority is not None or key is not None:
            priority, key = self._option(sent, PRIORITY, priority), self._option(sent, PARTITION_KEY, key)
            message.priority = 0 if priority is None else check_priority(priority)
            message.key = None if key is None else check_name("key", key)
        return message

    @staticmethod
    def _option(headers: dict[str, HeaderValue], name: str, value: Any) -> Any:
        """An option is also a header, so that it travels; either way of giving it means the same."""
        if value is None:
            return headers.get(name)
        headers[name] = value
        return value

    def _named_codec(self, headers: Mapping[str, HeaderValue]) -> Codec | None:
        """The codec that the publisher's content_type names: the consumer will read the body as that."""
        name = headers.get(CONTENT_TYPE)
        return self.codecs.get(name) if isinstance(name, str) else None

    def _encode(self, body: Any, headers: dict[str, HeaderValue], codec: Codec) -> bytes:
        if isinstance(body, _BYTES_LIKE):
            encoded = bytes(body)
            if codec.name != BYTES:
                headers.setdefault(CONTENT_TYPE, BYTES)
        else:
            encoded = codec.encode(body)
        if len(encoded) > self.policy.max_message_size:
            raise MessageTooLargeError(
                f"queue {self.id!r}: a body of {len(encoded)} bytes is larger than max_message_size "
                f"({self.policy.max_message_size} bytes)",
                driver=self.driver.name,
                queue=self.id,
            )
        return encoded

    def _ttl(self, ttl: float | str | None) -> float:
        if self.policy.dead_letter is None and not self.policy.drop_expired:
            raise PublishError(
                f"queue {self.id!r}: a ttl needs somewhere for expired messages to go: "
                "give the queue a dead_letter, or say on_expire: drop"
            )
        return _seconds("ttl", self.policy.message_ttl if ttl is None else ttl)

    def _enveloped(self, item: Any) -> Outgoing:
        if type(item) is not Envelope:
            return self._outgoing(item, None, 0.0, None, None, None, None)
        return self._outgoing(item.body, item.headers, item.delay, item.ttl, item.priority, item.key, item.id)

    def _result(self, id: str, error: DriverError | None) -> PublishResult:
        if error is None:
            self.metrics.published += 1
            return Confirmed(id, self.driver.durability)
        error = self._failed(id, error)
        return Rejected(id, error, error.retryable) if error.outcome == "rejected" else Unknown(id, error)

    def _failed(self, id: str, error: DriverError) -> DriverError:
        error = _own_copy(error)
        error.message_id = id
        if error.outcome == "rejected":
            self.metrics.rejected += 1
        else:
            self.metrics.unknown += 1
        return error


def _seconds(what: str, value: Any) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PublishError(f"{what}: {error}") from error


def _own_copy(error: DriverError) -> DriverError:
    """A batch shares one error; each publisher gets its own, with the same cause."""
    try:
        own = copy.copy(error)
    except TypeError:  # a driver's own subclass that is made in another way
        return error
    own.__cause__ = error.__cause__
    return own
