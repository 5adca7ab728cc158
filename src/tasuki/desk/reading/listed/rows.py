"""A message as a row of a list: texts that are safe to show; no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.desk.reading.bodies import line, preview
from tasuki.desk.reading.listed.timing import Due, due_of, number, place_of
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.message import (
    ATTEMPTS,
    DEAD_LETTER_REASON,
    DEAD_LETTER_TIME,
    LAST_ERROR,
    MESSAGE_TYPE,
    PARTITION_KEY,
    PRIORITY,
    TIMESTAMP,
    Message,
)
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.letter import name_of
from tasuki.queues.queue import Queue


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message of a list."""

    id: str
    name: str
    """Of a dead letter the one that means no other one of its id; else the id."""
    place: int
    published: float | None
    attempts: str
    priority: str
    key: str
    type: str
    error: str
    reason: str
    died: float | None
    body: str
    due: Due
    place_of_error: str
    most_attempts: int | None
    """After this many failures a message becomes a dead letter; None: never."""


def row_of(
    queue: Queue, message: Message, place: int, record: AttemptRecord | None = None, *, now: float | None = None
) -> MessageRow:
    """A message as a row of a list; ``record``: of its last failed attempt; ``now``: when the broker showed it."""
    headers = message.headers

    def text(name: str, most: int = 60) -> str:
        return line(headers[name], most) if name in headers else ""

    return MessageRow(
        id=message.id,
        name=name_of(message) if DEAD_LETTER_REASON in headers else message.id,
        place=place,
        published=number(headers.get(TIMESTAMP)),
        attempts=text(ATTEMPTS) if record is None else str(record.attempt),
        priority=text(PRIORITY),
        key=text(PARTITION_KEY),
        type=text(MESSAGE_TYPE),
        error=text(LAST_ERROR, 200),
        reason=text(DEAD_LETTER_REASON),
        died=number(headers.get(DEAD_LETTER_TIME)),
        body=preview(queue, message),
        due=due_of(message, queue.policy, None if record is None else record.attempt, now),
        place_of_error=line(place_of(message, record), 200) if LAST_ERROR in headers else "",
        most_attempts=queue.policy.max_attempts if queue.policy.dead_letter is not None else None,
    )


def state_of(row: QueueRow, message: Message | None, place: int, is_running: bool, status: str) -> str:
    """Where a message of a queue is, in a word; ``status``: of its job."""
    if message is not None:
        if DEAD_LETTER_REASON in message.headers:
            return "dead"
        if place >= (row.ready or 0):
            return "retrying" if LAST_ERROR in message.headers else "delayed"
        return "waiting"
    if is_running:
        return "running"
    return status or "unknown"
