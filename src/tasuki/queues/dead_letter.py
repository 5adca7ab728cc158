"""The form of a message in a dead-letter queue, after a redrive, and after a move."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing, Received, Waiting
from tasuki.errors import MAX_ERROR_CHARS
from tasuki.message import (
    ATTEMPT_RECORDS,
    ATTEMPTS,
    CAUSE,
    CONSUMER,
    CONTENT_TYPE,
    DEAD_LETTER_REASON,
    DEAD_LETTER_TIME,
    DUE,
    EDITED_BY,
    EDITED_FROM,
    ERROR_TYPE,
    EXPIRES_AT,
    FAILURES,
    GROUP,
    LAST_ERROR,
    LAST_ERROR_TIME,
    LAST_TRACEBACK,
    ORIGINAL_QUEUE,
    PARTITION_KEY,
    PLACE,
    PRIORITY,
    REDRIVEN,
    RULES,
    SIGNATURE,
    HeaderValue,
    Message,
    is_reserved,
)
from tasuki.queues.dead.attempts import AttemptRecord, header_of, round_of
from tasuki.queues.dead.cause import Origin, cause_of, origin_in

Reason = Literal[
    "max_attempts", "not_retryable", "rejected", "expired", "undecodable", "invalid", "unsigned", "worker_died",
    "unknown_task", "cancelled",
]  # fmt: skip


OF_LETTERS = tuple(reason for reason in get_args(Reason) if reason != "cancelled")
"""The reasons that a message is a dead letter for: a cancelled one is acked."""


KEPT_AT_REDRIVE = (SIGNATURE, GROUP, RULES, EDITED_BY, EDITED_FROM)
"""Headers of Tasuki's own that a redriven message keeps."""


def dead_letter(
    message: Message,
    *,
    queue: str,
    reason: Reason,
    error: str,
    attempts: int,
    now: float,
    content_type: str,
    traceback: str = "",
    origin: Origin | None = None,
    records: Iterable[AttemptRecord] = (),
    consumer: str = "",
) -> Outgoing:
    """The message for the dead-letter queue: same id, body and headers, and why, from where, when and after how many.

    ``content_type`` is the codec of the queue it came from, so that the body stays readable in a queue of another;
    ``traceback`` the frames of the user's code, for people who look; ``origin`` the type and the place of the error,
    None: as far as its text says; ``consumer`` who gave it up;
    ``records`` of its attempts, of which the newest go along.
    """
    headers = dict(message.headers)
    headers.pop(EXPIRES_AT, None)  # a dead letter never expires
    headers.pop(FAILURES, None)  # its attempts contain them
    headers.setdefault(CONTENT_TYPE, content_type)
    headers[ORIGINAL_QUEUE] = queue
    headers[DEAD_LETTER_REASON] = reason
    headers[DEAD_LETTER_TIME] = now
    headers[ATTEMPTS] = attempts
    if error:
        # An error may quote anything, lone surrogates included; a header must be Unicode that a broker can carry.
        headers[LAST_ERROR] = error[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode()
    headers.pop(ATTEMPT_RECORDS, None)
    if attempted := header_of(records):
        headers[ATTEMPT_RECORDS] = attempted
    headers.pop(LAST_TRACEBACK, None)
    if traceback:
        headers[LAST_TRACEBACK] = traceback.encode("utf-8", "replace").decode()
    for name in (CAUSE, ERROR_TYPE, PLACE, CONSUMER):
        headers.pop(name, None)
    if consumer:
        headers[CONSUMER] = consumer
    headers |= _cause(reason, error, origin or origin_in(error, traceback))
    return Outgoing(message.id, message.body, headers)


def _cause(reason: str, error: str, origin: Origin) -> dict[str, str]:
    """The fingerprint, and type and place where they are known."""
    kind, place = (part.encode("utf-8", "replace").decode() for part in origin)
    found = {CAUSE: cause_of(reason, kind, place, error), ERROR_TYPE: kind, PLACE: place}
    return {name: value for name, value in found.items() if value}


def sent_back(message: Message, now: float) -> Outgoing:
    """A message for the queue that it is sent to: a dead letter as it was first published, another one as it waits."""
    return redriven(message, now) if is_letter(message) else moved(message)


def redriven(message: Message, now: float | None = None) -> Outgoing:
    """The message as it was first published, without the headers that Tasuki added.

    All but its signature: with a new signature, a forged message would pass as a good one; but its group, which it is
    still a member of; and but who has edited it. It says how many times it was redriven. ``now``: when it is due again,
    in Unix seconds.
    """
    headers = {key: value for key, value in message.headers.items() if key in KEPT_AT_REDRIVE or not is_reserved(key)}
    headers[REDRIVEN] = round_of(message) + 1
    if now is not None:
        headers[DUE] = now
    priority, key = headers.get(PRIORITY), headers.get(PARTITION_KEY)
    return Outgoing(
        message.id,
        message.body,
        headers,
        priority=priority if isinstance(priority, int) else 0,
        key=str(key) if key is not None else None,
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
