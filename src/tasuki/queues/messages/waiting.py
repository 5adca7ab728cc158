"""The form of a waiting message in the queue that it is moved to, with its earlier attempts. No I/O."""

from __future__ import annotations

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing, Received, Waiting
from tasuki.message import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_TIME,
    FAILURES,
    LAST_ERROR,
    LAST_ERROR_TIME,
    ORIGINAL_QUEUE,
    PARTITION_KEY,
    PRIORITY,
    HeaderValue,
    Message,
)

OF_A_LETTER = frozenset({DEAD_LETTER_REASON, DEAD_LETTER_TIME, ORIGINAL_QUEUE})
"""Headers of which each dead letter has some, and no other message."""
_SHOWN = frozenset({LAST_ERROR, LAST_ERROR_TIME})
"""Headers that drivers add for people who look (38): no receiver sees them."""


def is_letter(message: Message) -> bool:
    """Whether it has died; else it waits, for its time, for another attempt or for a consumer."""
    return not OF_A_LETTER.isdisjoint(message.headers)


def moved(message: Message) -> Outgoing:
    """A waiting message for another queue, at any broker: the same, with its key, priority, delay and failed attempts.

    A broker counts the attempts of its own deliveries alone. So the message carries the earlier ones in a header, and
    ``counted`` adds them.
    """
    headers = {name: value for name, value in message.headers.items() if name not in _SHOWN}
    failures = _carried(headers)
    if isinstance(message, Waiting):
        failures += message.failures
    elif isinstance(message, Received):
        failures += message.attempt - 1
    if failures:
        headers[FAILURES] = failures
    priority, key = headers.get(PRIORITY), headers.get(PARTITION_KEY)
    return Outgoing(
        message.id,
        message.body,
        headers,
        delay=message.delay if isinstance(message, Waiting) else 0.0,
        priority=priority if isinstance(priority, int) else 0,
        key=str(key) if key is not None else None,
    )


def counted(received: Received) -> Received:
    """The delivery with the failed attempts that the message had in other queues; the driver keeps its own."""
    return replace(received, attempt=received.attempt + _carried(received.headers))


def _carried(headers: dict[str, HeaderValue]) -> int:
    failures = headers.get(FAILURES)
    return max(failures, 0) if isinstance(failures, int) else 0
