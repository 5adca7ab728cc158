"""Queue: publish to one declared queue, and inspect it; the durability that the queue demands of its broker."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.contracts.codec import Codec
from tasuki.contracts.context import Retries
from tasuki.contracts.driver import DURABILITIES, Act, Answers, Driver, Durability, Merged, Outgoing, QueueSpec
from tasuki.contracts.observer import Observer
from tasuki.errors import DriverError, DurabilityError, StorageFullError, TasukiError
from tasuki.message import GROUP, TIMESTAMP, HeaderValue, new_id
from tasuki.observe.metrics import QueueMetrics
from tasuki.observe.trace import CURRENT, Headers, hand_on
from tasuki.queues.batcher import Batcher
from tasuki.queues.inspection import Inspection, own_copy
from tasuki.queues.messages.body_type import BodyType, TypedMessageBuilder
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.messages.headers import check_reply_to
from tasuki.queues.messages.message_builder import Envelope, GroupEnvelope, MessageBuilder, seconds
from tasuki.queues.messages.signature import Signer
from tasuki.queues.middleware import Carry, PublishMiddleware, Sending, Through, of_stored, tell
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.result import Confirmed, PublishResult, Rejected, Unknown, confirmed
from tasuki.queues.unique_windows import FindStore, UniqueWindows
from tasuki.queues.uniqueness import UniqueFor
from tasuki.units import Duration

if TYPE_CHECKING:
    from tasuki.security.guard import Guard
    from tasuki.tracing.tracing import QueueTracing


_log = logging.getLogger("tasuki.queue")


def is_less(given: Durability, demanded: Durability) -> bool:
    """Whether a level survives less than another one."""
    return DURABILITIES.index(given) < DURABILITIES.index(demanded)


@dataclass(slots=True)
class Demand:
    """One queue's demand. The first refusal, and the first acceptance after it, are logged once."""

    queue: str
    driver: Driver
    name: str
    """The queue's name at the broker."""
    level: Durability | None = None
    """The level that a confirmed message needs; None: any."""
    _is_refusing: bool = False

    @property
    def given(self) -> Durability:
        """The level of a message that is confirmed now, as far as the driver knows."""
        return self.driver.durability_of(self.name)

    def refusal(self) -> DurabilityError | None:
        """Why publishing is refused now; None if it is not."""
        if self.level is None or self.driver.problem is not None:
            return None
        given = self.given
        if not is_less(given, self.level):
            if self._is_refusing:
                self._is_refusing = False
                _log.warning("queue %s: the broker gives durability %r again: publishing goes on", self.queue, given)
            return None
        text = (
            f"queue {self.queue!r} demands durability {self.level!r}, and driver {self.driver.name!r} gives {given!r} "
            "as its broker is set up: publishing is refused, consuming goes on; change the broker's settings or the "
            "entry's durability"
        )
        if not self._is_refusing:
            self._is_refusing = True
            _log.error("%s", text, extra={"queue": self.queue})
        return DurabilityError(text, driver=self.driver.name, queue=self.queue)


__all__ = ["PUBLISH_TIMEOUT", "Envelope", "GroupEnvelope", "Queue", "QueuePolicy"]


PUBLISH_TIMEOUT = 10.0
"""Seconds within which a publish is decided, unless the caller says otherwise."""


class Queue(Inspection):
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
        self.consumer_count = 0
        self._clock = clock
        self._reading = codecs.within(max(policy.max_message_size, policy.max_letter_size))
        self._reader = (codecs.get(codec.name) is codec and self._reading.get(codec.name)) or codec
        self._builder = _builder(id, body, driver=driver, codec=codec, codecs=self._reading, policy=policy, clock=clock)
        has_lanes = policy.lanes is not None and policy.lanes.reads_body
        is_encoded_only = not (policy.message_ttl or policy.compression or policy.unique or has_lanes or policy.tasks)
        self._made_at_once = self._builder.encoded_alone if is_encoded_only else frozenset()
        self.signer = Signer(id, codec.name, policy.signing) if policy.signing else None
        self.demand = Demand(id, driver, spec.name)
        self.guard = None
        self.origin = None
        self._through = Through(middleware, self._publish_one) if middleware else None
        self._batcher = Batcher(driver, spec.name, block_when_full=policy.overflow == "block")
        self.metrics = QueueMetrics(queue=id, driver=driver.name, publish_seconds=self._batcher.took)
        self._publish_all_of = self._batcher.publish
        self.tracing: QueueTracing | None = None
        self._windows: UniqueWindows | None = None
        if "window" not in driver.capabilities.unique:
            self._windows = UniqueWindows(id, spec.name, driver.name, self._batcher.publish)
            self._publish_all_of = self._windows.publish

    def observe(self, observers: Iterable[Observer]) -> None:
        """Report each published batch to these observers from now on, and to no others."""
        told = tell(observers, "on_publish")
        self._batcher.on_batch = None if told is None else of_stored(partial(told, self.id))

    def count_on(self, earlier: Queue) -> None:
        """Count on in the numbers of the queue that this one replaces."""
        self.metrics = earlier.metrics
        self._batcher.took = earlier.metrics.publish_seconds

    def use_store(self, find: FindStore) -> None:
        """Have unique windows by the store that ``find`` gives, where the driver has none of its own."""
        if self._windows is not None:
            self._windows.find_store = find

    def use_running_loop(self) -> None:
        """Belong to the running event loop from now on. Raises LifecycleError while a publish is under way."""
        self._batcher.use_running_loop()

    def check_loop(self) -> None:
        """Raise LifecycleError if this runs in another event loop than the queue's."""
        self._batcher.check_loop()

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
        publish_timeout: Duration = PUBLISH_TIMEOUT,
        at: datetime | None = None,
        unique: str | None = None,
        unique_for: UniqueFor | None = None,
        on_conflict: Act | None = None,
        unique_max: Duration | None = None,
        handler_timeout: Duration | None = None,
        retries: int | Retries | None = None,
        connection: object = None,
    ) -> Confirmed:
        """Publish one message and wait for the broker's confirmation.

        Args:
            body: bytes, or any value that the queue's codec can carry, of the queue's type if it has one.
            headers: text to bool, int (64 bit), finite float or text; ``attempts`` and ``x_…`` are reserved.
            delay: deliver after this time (``5s``, seconds or a ``timedelta``).
            ttl: expire after this time; default the queue's ``message_ttl``.
            priority: 0 to 9, 9 first.
            key: messages of one key keep their order in a queue with ``ordering: key``.
            id: the message's id; default a new UUIDv7.
            at: deliver at this time, in place of ``delay``; it has a time zone.
            unique: a key of which the queue has one message at a time; ``outcome`` of the result says what happened.
            unique_for: ``pending`` (the default: while a message of the key waits), ``running`` (until it is done), or
                a time after its publish.
            on_conflict: ``keep`` the message that has the key (the default), ``replace`` it while it waits, or
                ``extend``: replace it, and begin its ``delay`` again.
            unique_max: the longest time for which a message can be extended; default 10 delays.
            handler_timeout: the longest run of its handler; default as the task or the consumer says.
            retries: its attempts, or all its :class:`tasuki.Retries`; default as the task or the consumer says.
            publish_timeout: the time for the outcome, including the wait for room in a full queue.
            connection: the caller's database connection or session, on a ``transactional`` driver: the message is part
                of its transaction; neither waits for room nor uses ``publish_timeout``.

        Raises:
            PolicyDeniedError: the actor may not publish to this queue, or to the queue in the header ``reply_to``.
            PublishError, CodecError, BodyTypeError: the message or its body is not valid.
            DriverError: ``outcome`` is rejected (nothing was stored) or unknown; publish again with its ``message_id``.
        """
        if self.guard is not None:
            self._permit(self.guard, headers)
        limit = publish_timeout if publish_timeout is PUBLISH_TIMEOUT else seconds("publish_timeout", publish_timeout)
        if (
            type(body) in self._made_at_once
            and not (headers or delay)
            and (at is None and ttl is None and priority is None and key is None and id is None and unique is None)
            and (unique_for is None and on_conflict is None and unique_max is None)
            and (handler_timeout is None and retries is None and self._through is None)
        ):
            return await self._send(self._builder.build_alone(body), limit, connection)
        if self._through is not None:
            delay = seconds("delay", delay) if at is None else self._builder.until(at, delay)
            at, ttl = None, None if ttl is None else seconds("ttl", ttl)
        envelope = Envelope(body=body, headers=headers, delay=delay, at=at, ttl=ttl, priority=priority, key=key, id=id,
                            unique=unique, unique_for=unique_for, on_conflict=on_conflict, unique_max=unique_max,
                            handler_timeout=handler_timeout, retries=retries)  # fmt: skip
        if self._through is not None:
            return await self._through.publish(envelope, Sending(limit, connection))
        return await self._send(self._builder.build_item(envelope), limit, connection)

    def _permit(self, guard: Guard, headers: Mapping[str, HeaderValue] | None) -> None:
        guard.publish(self.id)
        check_reply_to(guard, self.id, headers)

    def validate(self, message: Envelope[Any]) -> None:
        """Raise what ``publish`` of this message raises before anything is sent; for a message that is sent later.

        A queue with middleware, which may change messages, checks the permission alone.
        """
        if self.guard is not None:
            self._permit(self.guard, message.headers)
        if self._through is None:
            self._builder.build_item(message)

    def validate_filled(self, message: Envelope[Any]) -> None:
        """As ``validate``, of a message whose body, or a part of it, comes later."""
        if self.guard is not None:
            self._permit(self.guard, message.headers)
        if self._through is None:
            self._builder.check_task(message.headers or {})

    async def _publish_one(self, envelope: Envelope[Any], sending: Sending) -> Confirmed:
        message = self._builder.build_item(envelope)
        if sending.group:
            message.headers[GROUP] = sending.group
        return await self._send(message, *sending[:3])

    async def publish_by(self, carry: Carry, body: Any, headers: Mapping[str, HeaderValue]) -> Confirmed:
        """Publish one message by another way, such as together with an ack; else as ``publish``."""
        if self.guard is not None:
            self._permit(self.guard, headers)
        if self._through is not None:
            envelope = Envelope(body=body, headers=headers)
            return await self._through.publish(envelope, Sending(PUBLISH_TIMEOUT, carry=carry))
        message = self._builder.build(body, headers, 0.0, None, None, None, None)
        return await self._send(message, PUBLISH_TIMEOUT, carry=carry)

    async def _send(
        self, message: Outgoing, timeout: float, connection: object = None, carry: Carry | None = None
    ) -> Confirmed:
        if self.signer is not None:
            self.signer.sign((message,))
        if self.demand.level is not None and (refusal := self.demand.refusal()) is not None:
            raise self._failed(message.id, refusal)
        if connection is None and carry is None and self.tracing is None and CURRENT.get() is None:
            answer = (await self._publish_all_of((message,), timeout))[0]
        else:
            answer = (await self._put((message,), timeout, connection, carry))[0]
        if isinstance(answer, DriverError):
            raise self._failed(message.id, self._advised(message, answer))
        if self.waits is not None:
            await self.waits.note(_stored((message,), (answer,)))
        if answer is None:  # the common case
            self.metrics.published += 1
            return Confirmed(message.id, self.driver.durability_of(self.spec.name))
        return self._confirmed(message.id, answer)

    def _put(
        self, messages: Sequence[Outgoing], timeout: float, connection: object = None, carry: Carry | None = None
    ) -> Awaitable[Answers]:
        """Give messages to the driver; one answer each. They continue the trace that runs now."""
        if self.tracing is not None:
            return self.tracing.send(messages, partial(self._put_untraced, messages, timeout, connection, carry))
        if (trace := CURRENT.get()) is not None:
            hand_on(trace, messages)
        return self._put_untraced(messages, timeout, connection, carry)

    def _put_untraced(
        self, messages: Sequence[Outgoing], timeout: float, connection: object, carry: Carry | None
    ) -> Awaitable[Answers]:
        if carry is not None and messages[0].unique is None:  # else the ack follows by itself
            return carry(messages)
        if connection is None:
            return self._publish_all_of(messages, timeout)
        return self._batcher.publish_within(connection, messages)

    async def publish_many(
        self, items: Sequence[object], *, publish_timeout: Duration = PUBLISH_TIMEOUT, connection: object = None
    ) -> list[PublishResult]:
        """Publish bodies, :class:`Envelope` objects and messages of tasks (``send.message(url)``).

        Returns one result for each, in order; never raises for one. ``connection``: see ``publish``; check the results
        before you commit.

        Raises:
            PolicyDeniedError: the actor may not publish to it.
            TypeError: a dict, a text or bytes in the place of the list.
        """
        if isinstance(items, Mapping | str | bytes):  # its keys or letters would be the bodies
            raise TypeError(f"publish_many takes a list of bodies, not a {type(items).__name__}: write publish(body)")
        if self.guard is not None:
            self.guard.publish(self.id)
        limit = seconds("publish_timeout", publish_timeout)
        if self._through is not None:
            return await self._through.publish_each(items, Sending(limit, connection), self._checked)
        messages, results = self._build_all(items)
        if len(messages) < len(results):
            self._warn_of(results)
        if self.signer is not None:
            self.signer.sign(messages)
        errors = await self._publish_all(messages, limit, connection)
        if self.waits is not None and (stored := _stored(messages, errors)):
            await self.waits.note(stored)
        durability = self.demand.given
        if len(messages) == len(results) and not any(errors):
            self.metrics.published += len(messages)
            return [Confirmed(message.id, durability) for message in messages]
        answers = zip(messages, errors, strict=True)
        told = iter([self._result(message.id, self._advised(message, error)) for message, error in answers])
        return [result if result is not None else next(told) for result in results]

    def _build_all(self, items: Sequence[object]) -> tuple[list[Outgoing], list[PublishResult | None]]:
        """The valid messages, and for each item None or why it is not valid."""
        results: list[PublishResult | None] = []
        messages: list[Outgoing] = []
        plain = self._made_at_once
        encode, largest = self._builder.encode_alone, self.policy.max_message_size
        head = {TIMESTAMP: int(self._clock.time()), **self._builder.headers_alone}
        for item in items:
            try:
                # Most items are plain bodies: build those here, without a call for each.
                if type(item) in plain and len(body := encode(item)) <= largest:
                    messages.append(Outgoing(new_id(), body, head.copy()))
                else:
                    if isinstance(item, Envelope):
                        self._check_item(item)
                    messages.append(self._builder.build_item(item))
                results.append(None)
            except TasukiError as error:
                id = item.id if isinstance(item, Envelope) and item.id else ""
                results.append(Rejected(id, error, False))
        return messages, results

    def _warn_of(self, results: Sequence[PublishResult | None]) -> None:
        """Log that items were refused: a caller that does not look at the results would not know."""
        refused = [result for result in results if result is not None]
        _log.warning(
            "publish_many to queue %s: %d of %d items are refused, and nothing of them was sent: %s",
            self.id, len(refused), len(results), getattr(refused[0], "error", ""), extra={"queue": self.id},
        )  # fmt: skip

    async def _publish_all(self, messages: Sequence[Outgoing], limit: float, connection: Any) -> Answers:
        if refusal := self.demand.refusal():
            return [refusal] * len(messages)
        return await self._put(messages, limit, connection) if messages else []

    def _checked(self, item: Any) -> Envelope[Any]:
        """The item as its own envelope. Raises PolicyDeniedError: its replies may not go where it says."""
        if not isinstance(item, Envelope):
            return Envelope(body=item)
        self._check_item(item)
        return copy.copy(item)

    def _check_item(self, item: Envelope[Any]) -> None:
        item.check_for(self.id)
        if self.guard is not None:
            check_reply_to(self.guard, self.id, item.headers)

    async def forward(
        self,
        messages: Sequence[Outgoing],
        *,
        timeout: float = PUBLISH_TIMEOUT,
        carry: Carry | None = None,
        after: Sequence[Headers] = (),
    ) -> list[DriverError | None]:
        """Publish existing messages (dead letters, redrives) unchanged; one result each, in order.

        A remembered id is no duplicate here, and no message is unique. ``carry``: publish by another way.
        ``after``: of each message the headers of the span that its own follows.
        """
        if refusal := self.demand.refusal():
            return [refusal] * len(messages)
        for message in messages:
            message.deduplicate = False
            if self.policy.lanes is not None:
                message.lane = self.policy.lanes.of_sent_on(message, self.decode)
        put: Callable[[], Awaitable[Answers]]
        put = partial(carry, messages) if carry else partial(self._batcher.publish, messages, timeout)
        versions = None if self.waits is None else await self.waits.versions(messages)
        answers = await (put() if self.tracing is None else self.tracing.forward(messages, after, put))
        if self.waits is not None and (stored := _stored(messages, answers)):
            await self.waits.note(stored, versions)
        results = [answer if isinstance(answer, DriverError) else None for answer in answers]
        self.metrics.published += results.count(None)
        return results

    def _confirmed(self, id: str, merged: Merged | None) -> Confirmed:
        result = confirmed(id, self.demand.given, merged)
        self.metrics.confirm(result.outcome)
        return result

    def _result(self, id: str, answer: DriverError | Merged | None) -> PublishResult:
        if not isinstance(answer, DriverError):
            return self._confirmed(id, answer)
        error = self._failed(id, answer)
        return Rejected(id, error, error.retryable) if error.outcome == "rejected" else Unknown(id, error)

    def _failed(self, id: str, error: DriverError) -> DriverError:
        error = own_copy(self._told(error))
        error.message_id = id
        if isinstance(error, StorageFullError):
            self.metrics.refuse(str(error), self._clock.monotonic())
        if error.outcome == "rejected":
            self.metrics.rejected += 1
        else:
            self.metrics.unknown += 1
        return error


def _stored(messages: Sequence[Outgoing], answers: Answers) -> list[Outgoing]:
    """The messages that are at the broker now; one that was merged into another is not."""
    return [message for message, answer in zip(messages, answers, strict=True) if answer is None]


def _builder(id: str, body: BodyType | None, **parts: Any) -> MessageBuilder:
    return MessageBuilder(id, **parts) if body is None else TypedMessageBuilder(id, body, **parts)
