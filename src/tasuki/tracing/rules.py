"""Names, attributes and outcomes of spans by OpenTelemetry's conventions for messaging 1.44; which spans are recorded.

Pure. The conventions are still in development, so their names stand here, and are taken from no package. Most messages
of a busy app are not recorded, and cost no call of OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.message import CORRELATION_ID, Message
from tasuki.observe.trace import Headers

Value = str | int | float | bool


Attributes = dict[str, Value]


SYSTEMS: Mapping[str, str] = {"amqp": "rabbitmq", "sqs": "aws_sqs", "postgres": "postgresql"}
"""Names in the conventions; the other drivers keep theirs."""


_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379, "nats": 4222, "tls": 4222, "postgresql": 5432,
          "postgres": 5432, "http": 80, "https": 443}  # fmt: skip


_MOST_TEXT = 255
"""Characters of an id that comes from outside."""


@dataclass(frozen=True, slots=True)
class SpanTarget:
    """A queue, as its spans name it."""

    name: str
    """Its id; of a temporary queue for replies ``reply``, as a name of a span must not be new each time."""
    attributes: Mapping[str, Value]
    """The attributes that all spans of the queue have."""

    def temporary(self, queue: str) -> SpanTarget:
        """Another queue, which lives as long as its process, on the same driver."""
        attributes = {**self.attributes, "messaging.destination.name": queue, "messaging.destination.temporary": True}
        return SpanTarget("reply", attributes)

    def of_operation(self, kind: str) -> Attributes:
        """The attributes of an operation: create, send, receive, process or settle."""
        return {**self.attributes, "messaging.operation.name": kind, "messaging.operation.type": kind}

    def of_messages(self, kind: str, messages: Sequence[Message], *, with_size: bool) -> Attributes:
        """The same with the facts of one message, or with the number of several."""
        found = self.of_operation(kind)
        if len(messages) != 1:
            return {**found, "messaging.batch.message_count": len(messages)}
        (message,) = messages
        found["messaging.message.id"] = message.id[:_MOST_TEXT]
        if CORRELATION_ID in message.headers:
            found["messaging.message.conversation_id"] = str(message.headers[CORRELATION_ID])[:_MOST_TEXT]
        if with_size:
            found["messaging.message.body.size"] = len(message.body)
        return found


def target_of(queue: str, driver: str, server: tuple[str, int | None] | None) -> SpanTarget:
    """The names of a queue on a kind of driver. ``server``: see ``server_of``."""
    attributes: Attributes = {"messaging.system": SYSTEMS.get(driver, driver), "messaging.destination.name": queue}
    if server is not None:
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    return SpanTarget(queue, attributes)


def server_of(address: str) -> tuple[str, int | None] | None:
    """Host and port of an address, without user and password; None: it names no server."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    return host, _PORTS.get(parts.scheme) if port is None else port


def error_type(error: object) -> str:
    """The class of an error: ``package.module.Name``, of built-in ones the name alone."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class SpanEnding(NamedTuple):
    """``outcome``: returned, false, retry, reject, snooze, sleep, interrupted or error; whether that is a failure."""

    outcome: str
    has_failed: bool


_SIGNALS: tuple[tuple[type[BaseException], SpanEnding], ...] = (
    (Retry, SpanEnding("retry", False)),
    (Reject, SpanEnding("reject", True)),
    (Snooze, SpanEnding("snooze", False)),
    (Suspended, SpanEnding("sleep", False)),
)


def is_interruption(error: BaseException) -> bool:
    """Whether a handler was ended from outside: its time was over, it was cancelled, or its worker stops."""
    return isinstance(error, Interrupted | asyncio.CancelledError)


def ending_of(result: Any, error: BaseException | None) -> SpanEnding:
    """The ending of a handler that returned, or raised. Its message may be settled in another way already."""
    if error is None:
        return SpanEnding("false", True) if result is False else SpanEnding("returned", False)
    for signal, ending in _SIGNALS:
        if isinstance(error, signal):
            return ending
    return SpanEnding("interrupted" if is_interruption(error) else "error", True)


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """See :class:`tasuki.kinds.entries.telemetry.traces.TracesConfig`."""

    sample: float = 1.0
    attach: bool = False
    create: bool = False
    receive: bool = False
    baggage: bool = False
    body_size: bool = False
    process: Literal["child", "link"] = "child"


class HandlerCall(NamedTuple):
    """How a consumer calls a handler."""

    seconds: float
    """How long the handler may take."""
    monotonic: Callable[[], float]
    is_batch: bool = False
    has_context: bool = True
    """False if nothing reads the context, and the facts stand in its place."""


NOT_RECORDED: Headers = MappingProxyType({"": ""})
"""As the trace that runs now: it begins with a message that is not recorded; its id is made when it is handed on."""


_NO_SPAN = f"{1:016x}"
"""In the place of the id of a span that is not recorded: it must not be zero."""


_LAST = 2**40 - 1


_END = f"-{_NO_SPAN}-00"


_count = itertools.count()


_begin = ""


def _reseed() -> None:
    """The ids of a process begin at random and are counted, and so are the ones of a forked child."""
    global _begin
    _begin = f"00-{int.from_bytes(os.urandom(11), 'big') | 1:022x}"


_reseed()


os.register_at_fork(after_in_child=_reseed)


def is_chosen(share: float) -> bool:
    """Toss a coin for a trace that begins here; ``share`` of them are recorded."""
    return share >= 1.0 or random.random() < share  # noqa: S311 - not for security


def unrecorded() -> str:
    """The ``traceparent`` of a new trace that is not recorded: a process that continues it need not decide again."""
    return f"{_begin}{next(_count) & _LAST:010x}{_END}"


def obeys_the_flag(description: str) -> bool:
    """Whether a sampler, by its description, records nothing of a trace whose parent is not recorded.

    OpenTelemetry's own default does. Another one is asked about each message: it may record what its parent did not.
    """
    return (
        description.startswith("ParentBased{")
        and "remoteParentNotSampled:AlwaysOffSampler" in description
        and "localParentNotSampled:AlwaysOffSampler" in description
    ) or description == "AlwaysOffSampler"
