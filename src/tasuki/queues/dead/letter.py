"""Letter: a message of a dead-letter queue, with the facts of its headers."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.message import (
    ATTEMPTS,
    CAUSE,
    CONSUMER,
    DEAD_LETTER_REASON,
    DEAD_LETTER_TIME,
    ERROR_TYPE,
    LAST_ERROR,
    LAST_TRACEBACK,
    MESSAGE_TYPE,
    ORIGINAL_QUEUE,
    PLACE,
    Message,
)
from tasuki.queues.dead.attempts import AttemptRecord, records_in, round_of
from tasuki.queues.dead.cause import cause_of
from tasuki.queues.dead.origin import Origin, origin_in


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Missing texts are empty, a missing ``at`` (Unix seconds) or ``attempts`` is None."""

    message: Message
    dead: str
    """The id of the dead-letter queue that it is in."""
    queue: str
    """The id of the queue that it came from."""
    reason: str
    type: str
    place: str
    cause: str
    error: str
    task: str
    at: float | None
    attempts: int | None
    redriven: int = 0
    """How many times it was redriven before it died again."""
    consumer: str = ""
    """The id of the consumer that gave it up."""

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.message.id

    @property
    def attempt_records(self) -> list[AttemptRecord]:
        """Its last failed attempts, oldest first, as far as it carries them."""
        return records_in(self.message)


def letter_in(message: Message, dead: str) -> Letter:
    """The letter that a message of a dead-letter queue is; what an older one lacks comes from its error's text."""
    headers = message.headers
    reason, error = _text(message, DEAD_LETTER_REASON), text_in(message)
    cause = _text(message, CAUSE)
    if cause:
        origin = Origin(_text(message, ERROR_TYPE), _text(message, PLACE))
    else:
        origin = origin_in(error, _text(message, LAST_TRACEBACK))
        cause = cause_of(reason, origin.type, origin.place, error)
    at, attempts = headers.get(DEAD_LETTER_TIME), headers.get(ATTEMPTS)
    return Letter(
        message,
        dead,
        _text(message, ORIGINAL_QUEUE),
        reason,
        origin.type,
        origin.place,
        cause,
        error,
        _text(message, MESSAGE_TYPE),
        at if isinstance(at, int | float) and not isinstance(at, bool) else None,
        attempts if isinstance(attempts, int) and not isinstance(attempts, bool) else None,
        round_of(message),
        _text(message, CONSUMER),
    )


def text_in(message: Message) -> str:
    """The error that a message of a dead-letter queue says; empty: none."""
    return _text(message, LAST_ERROR)


def _text(message: Message, header: str) -> str:
    value = message.headers.get(header, "")
    return value if isinstance(value, str) else str(value)
