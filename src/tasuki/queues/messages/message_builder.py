"""MessageBuilder: makes a message from a body and its publisher's options, or raises the reason why not."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.codec import Codec
from tasuki.contracts.context import Retries
from tasuki.contracts.driver import Act, Driver, Outgoing, Unique
from tasuki.errors import MessageTooLargeError, PublishError, UnsupportedError
from tasuki.handlers.arguments import Bound
from tasuki.message import (
    CONTENT_TYPE,
    DUE,
    EXPIRES_AT,
    GROUP,
    MESSAGE_TYPE,
    PARTITION_KEY,
    PRIORITY,
    RULES,
    TIMESTAMP,
    HeaderValue,
    Message,
    new_id,
)
from tasuki.queues.messages.codec import BYTES, JSON, Codecs, Compression, unchanged
from tasuki.queues.messages.headers import check_headers, check_name, check_priority
from tasuki.queues.messages.rules import Asking, header_of, rules_for
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.uniqueness import DOES, NOTHING_ASKED, UniqueFor, UniqueOptions, unique_of
from tasuki.units import Duration, check_time, format_duration, parse_duration

T = TypeVar("T")

BYTES_LIKE = (bytes, bytearray, memoryview)
_PLAIN: frozenset[type] = frozenset({dict, list, str, int, float, bool, type(None)})


class _Addressed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    headers: Mapping[str, HeaderValue] | None = None
    priority: int | None = None
    key: str | None = None
    id: str | None = None
    at: datetime | None = None
    unique: str | None = None
    on_conflict: Act | None = None


class _Bodied(_Addressed, Generic[T], forbid_unknown_fields=True):
    body: T
    """May be given without its name, as people write it."""


class Envelope(_Bodied[T], kw_only=True, forbid_unknown_fields=True):
    """A body with the options of its publish.

    Durations are seconds, text (``5s``) or a ``timedelta``. ``at``: when to deliver, in place of ``delay``; with a time
    zone.
    """

    delay: Duration = 0.0
    ttl: Duration | None = None
    unique_for: UniqueFor | None = None
    unique_max: Duration | None = None
    handler_timeout: Duration | None = None
    retries: int | Retries | None = None

    def check_for(self, queue: str) -> None:
        """Raise PublishError if it cannot be published to the queue of this id."""

    def asked(self) -> UniqueOptions:
        """What makes it unique."""
        return UniqueOptions(self.unique, self.unique_for, self.on_conflict, self.unique_max)


class GroupEnvelope(Envelope[T], kw_only=True, forbid_unknown_fields=True):
    """A message of a group or chain."""

    group: str = ""
    """See :class:`tasuki.flow.group_records.Membership`; empty: none."""
    is_recorded: bool = False
    """Its body was checked when it was recorded, or is a result: it is written as results are."""


class _Written(_Addressed, kw_only=True, forbid_unknown_fields=True):
    """The same as JSON: msgspec cannot read a union of timedelta and text."""

    body: Any
    delay: float | str = 0.0
    ttl: float | str | None = None
    unique_for: float | str | None = None
    unique_max: float | str | None = None
    handler_timeout: float | str | None = None
    retries: int | None = None


_read = msgspec.json.Decoder(_Written).decode


def envelope_of(line: bytes) -> Envelope[Any]:
    """The envelope that is written in JSON. Raises msgspec.MsgspecError: it is none."""
    return Envelope(**msgspec.structs.asdict(_read(line)))


class MessageBuilder:
    """For one queue, whose id its errors name."""

    def __init__(
        self, queue: str, *, driver: Driver, codec: Codec, codecs: Codecs, policy: QueuePolicy, clock: Clock
    ) -> None:
        self._queue = queue
        self._driver = driver.name
        self._capabilities = driver.capabilities
        self._codec = codec
        self._codecs = codecs
        self._policy = policy
        self._clock = clock
        self._encode_unchanged = unchanged(codec)
        self.encoded_alone = _PLAIN
        """The classes of bodies of which a message needs no more than their encoding, if it has no options."""
        self.encode_alone = self._encode_unchanged
        """How these bodies are encoded."""
        self.headers_alone: dict[str, HeaderValue] = {} if codec.name == JSON else {CONTENT_TYPE: codec.name}
        """The headers of such a message, beside the time."""

    def build_alone(self, body: Any) -> Outgoing:
        """The message of a body of ``encoded_alone``, without options. Raises what ``Queue.publish`` raises."""
        sent: dict[str, HeaderValue] = {TIMESTAMP: int(self._clock.time()), **self.headers_alone}
        encoded = self.encode_alone(body)
        if len(encoded) > self._policy.max_message_size:
            raise self._too_large(encoded)
        return Outgoing(new_id(), encoded, sent)

    def build(
        self,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        delay: Duration,
        ttl: Duration | None,
        priority: int | None,
        key: str | None,
        id: str | None,
        asked: UniqueOptions = NOTHING_ASKED,
        *,
        is_recorded: bool = False,
    ) -> Outgoing:
        """Check and encode, in this order: headers, id, body, size, options. Raises what ``Queue.publish`` raises."""
        now = self._clock.time()
        sent: dict[str, HeaderValue] = {TIMESTAMP: int(now)}
        codec = self._codec
        if headers:
            sent.update(check_headers(headers))
            codec = self.named_codec(sent) or codec
        if self._policy.tasks:
            self.check_task(sent, body)
        if ttl is not None or self._policy.message_ttl is not None:
            sent[EXPIRES_AT] = now + self._ttl(ttl)
        id = new_id() if id is None else check_name("message id", id)
        message = Outgoing(id, self._encode(body, sent, codec, is_recorded=is_recorded), sent)
        if self._policy.compression is not None:
            message.body = self._compressed(self._policy.compression, message.body, sent)
        if delay:
            message.delay = self._delay(delay)
            sent[DUE] = now + message.delay
        if headers or priority is not None or key is not None:
            priority, key = self._option(sent, PRIORITY, priority), self._option(sent, PARTITION_KEY, key)
            message.priority = 0 if priority is None else self._priority(priority)
            message.key = None if key is None else check_name("key", key)
        if asked is not NOTHING_ASKED or self._policy.unique is not None:
            message.unique = self._unique(asked, body, sent, message.delay)
        if self._policy.lanes is not None:
            message.lane = self._policy.lanes.of(body, sent, message.key)
        return message

    def _unique(
        self, asked: UniqueOptions, body: Any, headers: Mapping[str, HeaderValue], delay: float
    ) -> Unique | None:
        unique = unique_of(asked, self._policy.unique, body, headers, delay)
        if unique is None:
            return None
        able = self._capabilities.unique
        if "window" not in able and unique.needs == ("window", "keep"):
            return unique  # by the queue's store, if it has one
        for need in unique.needs if unique.act == "keep" else unique.needs[::-1]:  # a store might keep the window
            if need not in able:
                raise self._unsupported(DOES[need])
        return unique

    @staticmethod
    def _option(headers: dict[str, HeaderValue], name: str, value: Any) -> Any:
        """Copy options into headers, so that the message carries them; option and header mean the same."""
        if value is None:
            return headers.get(name)
        headers[name] = value
        return value

    def named_codec(self, headers: Mapping[str, HeaderValue]) -> Codec | None:
        """The codec of the publisher's content_type, by which the consumer will decode the body."""
        name = headers.get(CONTENT_TYPE)
        return self._codecs.get(name) if isinstance(name, str) else None

    def give_rules(self, message: Outgoing, handler_timeout: Duration | None, retries: Asking) -> None:
        """Put the rules of the message in its headers, if it has some. Raises PublishError: a rule is none."""
        if handler_timeout is retries is None:
            return
        rules = rules_for(handler_timeout, retries)
        if rules.attempts is not None and self._policy.dead_letter is None:
            raise PublishError(
                f"queue {self._queue!r} has no dead_letter, so a message is tried until it succeeds, and retries "
                "cannot bound it: give the queue a dead_letter, or leave the number of attempts out"
            )
        message.headers[RULES] = header_of(rules)

    def check_task(self, headers: Mapping[str, HeaderValue], body: object = None) -> None:
        """Raise PublishError: the message names no task, and the queue has nothing else for it."""
        if self._policy.tasks and MESSAGE_TYPE not in headers:
            refuse_message(self._queue, body)
            tasks = ", ".join(self._policy.tasks)
            raise PublishError(
                f"queue {self._queue!r} takes calls of tasks ({tasks}), and this message names none; nothing was sent; "
                f"write await {self._policy.tasks[0]}.publish(…), or give the header message_type"
            )

    def _encode(self, body: Any, headers: dict[str, HeaderValue], codec: Codec, *, is_recorded: bool = False) -> bytes:
        """Bytes of a body, as it is. ``is_recorded``: as results are written."""
        kind = type(body)
        if kind not in _PLAIN and isinstance(body, BYTES_LIKE):
            encoded = bytes(body)
            headers.setdefault(CONTENT_TYPE, BYTES)
        else:
            if kind not in _PLAIN:
                refuse_message(self._queue, body)
            if is_recorded:
                encoded = codec.encode(body)
            elif isinstance(body, Bound):
                encoded = self._encode_arguments(body, codec)
            else:
                encoded = self._encode_unchanged(body) if codec is self._codec else unchanged(codec)(body)
            if codec.name != JSON:
                headers.setdefault(CONTENT_TYPE, codec.name)
        if len(encoded) > self._policy.max_message_size:
            raise self._too_large(encoded)
        return encoded

    def _too_large(self, encoded: bytes) -> MessageTooLargeError:
        return MessageTooLargeError(
            f"queue {self._queue!r}: a body of {len(encoded)} bytes is larger than max_message_size "
            f"({self._policy.max_message_size} bytes)",
            driver=self._driver,
            queue=self._queue,
        )

    @staticmethod
    def _encode_arguments(body: Bound, codec: Codec) -> bytes:
        """Arguments of a task: those without an annotation are kept as any other body is."""
        if body.untyped:
            unchanged(codec)({name: body[name] for name in body.untyped})
        return codec.encode(body)

    def _compressed(self, compression: Compression, body: bytes, headers: dict[str, HeaderValue]) -> bytes:
        packed = compression.compressed(body)
        if packed is None:
            return body
        headers[CONTENT_TYPE] = f"{headers.get(CONTENT_TYPE, self._codec.name)}+{compression.method}"
        return packed

    def _delay(self, delay: Duration) -> float:
        wait, most = seconds("delay", delay), self._capabilities.max_delay
        if most is not None and wait > most:
            raise self._unsupported(f"delay messages for longer than {format_duration(most)}")
        return wait

    def until(self, at: datetime, delay: Duration = 0.0) -> float:
        """Seconds until a time of delivery; 0 if it has passed.

        Raises:
            PublishError: it has no time zone, or there is a delay too.
        """
        if delay:
            raise PublishError("give a message a delay or a time at which it is due (at), not both")
        try:
            return max(check_time(at).timestamp() - self._clock.time(), 0.0)
        except ValueError as error:
            raise PublishError(str(error)) from error

    def _priority(self, priority: Any) -> int:
        if check_priority(priority) and not self._capabilities.has("native_priority"):
            raise self._unsupported("hand out messages by priority")
        return int(priority)

    def _unsupported(self, what: str) -> UnsupportedError:
        problem = f"queue {self._queue!r}: driver {self._driver!r} cannot {what}; 'tasuki drivers' shows which can"
        return UnsupportedError(problem, driver=self._driver, queue=self._queue)

    def _ttl(self, ttl: Duration | None) -> float:
        if self._policy.dead_letter is None and not self._policy.drop_expired:
            raise PublishError(
                f"queue {self._queue!r}: a ttl needs somewhere for expired messages to go: "
                "give the queue a dead_letter, or say on_expire: drop"
            )
        time = seconds("ttl", self._policy.message_ttl if ttl is None else ttl)
        if not time:
            raise PublishError(
                f"queue {self._queue!r}: with ttl=0 a message expires before it is received: give it a time such as "
                "ttl='5m', or leave ttl out"
            )
        return time

    def build_item(self, item: Any) -> Outgoing:
        """The same for a body, or an Envelope."""
        if not isinstance(item, Envelope):
            return self.build(item, None, 0.0, None, None, None, None)
        delay = item.delay if item.at is None else self.until(item.at, item.delay)
        is_asked = not item.unique is item.unique_for is item.on_conflict is item.unique_max is None
        asked = item.asked() if is_asked else NOTHING_ASKED
        own = item if isinstance(item, GroupEnvelope) else None
        message = self.build(
            item.body, item.headers, delay, item.ttl, item.priority, item.key, item.id, asked,
            is_recorded=own is not None and own.is_recorded,
        )  # fmt: skip
        self.give_rules(message, item.handler_timeout, item.retries)
        if own is not None and own.group:
            message.headers[GROUP] = own.group
        return message


def refuse_message(queue: str, body: object) -> None:
    """Raise PublishError for a body that is a message itself, or a call that was not made into one."""
    if isinstance(body, Envelope):
        raise PublishError(
            f"queue {queue!r}: the body is {_with_article(type(body).__name__)} itself, with a body, headers and "
            "options; nothing was sent; write publish_many([…]) for it, or task.publish(…) for a call of a task"
        )
    if isinstance(body, Message):
        raise PublishError(
            f"queue {queue!r}: the body is a Message itself, as peek and handlers show it; nothing was sent; write "
            "publish(…) with what its body says, or send a dead letter back with 'tasuki redrive'"
        )
    if isinstance(body, Coroutine):
        body.close()  # or Python says that it was never awaited
        name = getattr(body, "__qualname__", "it")
        raise PublishError(
            f"queue {queue!r}: the body is the coroutine of a call {name}(…), which has not run; nothing was sent; "
            f"for a task write {name}.message(…), else await the call first"
        )


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"


def seconds(what: str, value: Any) -> float:
    """Seconds of a duration that a publisher gave. Raises PublishError that names ``what``."""
    try:
        return parse_duration(value)
    except ValueError as error:
        if isinstance(value, datetime):
            raise PublishError(f"{what}: {value} is a time, not a duration; write at={value!r}") from None
        raise PublishError(f"{what}: {error}") from error
