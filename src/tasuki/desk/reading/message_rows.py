"""A message as a row of a list: safe texts, when it is due and why, and the parts of its traceback; no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasuki.contracts.values import Waiting
from tasuki.desk.reading.bodies import line, lines, preview
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.message import (
    ATTEMPTS,
    DEAD_LETTER_REASON,
    DEAD_LETTER_TIME,
    DUE,
    LAST_ERROR,
    LAST_ERROR_TIME,
    LAST_TRACEBACK,
    MESSAGE_TYPE,
    PARTITION_KEY,
    PRIORITY,
    TIMESTAMP,
    Message,
)
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.cause import is_library, origin_in
from tasuki.queues.dead.letter import name_of
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.queue import Queue

_LINE = r'^ *File "[^"\n]*%s", line (\d{1,7}), in '


@dataclass(frozen=True, slots=True)
class Due:
    """``at``: Unix time, None: it is not known; ``reason``: delay, retry or postponed."""

    reason: str
    at: float | None = None
    is_about: bool = False
    """Whether it was worked out from the last failure: the pause has some jitter."""


def due_of(message: Message, policy: QueuePolicy, attempt: int | None = None, now: float | None = None) -> Due:
    """When a delayed message is due: as its broker says at ``now``, else as its headers say.

    ``attempt``: the number of the last one that failed, where it is known.
    """
    headers = message.headers
    if now is not None and isinstance(message, Waiting) and message.delay:
        reason = "retry" if LAST_ERROR in headers else "delay" if DUE in headers else "postponed"
        return Due(reason, now + message.delay)
    if LAST_ERROR in headers:
        failed = number(headers.get(LAST_ERROR_TIME))
        attempts = number(headers.get(ATTEMPTS)) if attempt is None else attempt
        if failed is None or attempts is None:
            return Due("retry")
        backoff = policy.retry
        try:
            pause = min(backoff.initial_delay * backoff.backoff_factor ** max(attempts - 1, 0), backoff.max_delay)
        except OverflowError:
            pause = backoff.max_delay
        return Due("retry", failed + pause, is_about=True)
    due = number(headers.get(DUE))
    return Due("postponed") if due is None else Due("delay", due)


def place_of(message: Message, record: AttemptRecord | None = None) -> str:
    """``file:line in function`` of the last error, or ``file:function``; empty: nothing tells."""
    if record is not None:
        traceback, place = record.traceback, record.place
    else:
        traceback = str(message.headers.get(LAST_TRACEBACK, ""))
        place = origin_in(str(message.headers.get(LAST_ERROR, "")), traceback).place
    file, _, function = place.rpartition(":")
    if not file:
        return place
    found = re.findall(_LINE % re.escape(file[-100:]) + re.escape(function), traceback, re.MULTILINE)
    return f"{file}:{found[-1]} in {function}" if found else place


def number(value: object) -> float | None:
    """A number of a header; None: it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def held_back(row: QueueRow) -> list[tuple[str, dict[str, Any]]]:
    """Why ready messages of a queue do not start: keys of texts, and values; empty: they do."""
    if not row.ready:
        return []
    if row.paused is not None:
        return [("yet.paused", {"text": str(row.paused)})]
    if not row.consumers:
        return [("yet.no_consumer", {})]
    found: list[tuple[str, dict[str, Any]]] = []
    stopped = [each for each in row.consumers if each.paused is not None or (each.scale and not each.scale.concurrency)]
    if len(stopped) == len(row.consumers):
        found.append(("yet.consumers", {"n": len(stopped)}))
    elif row.workers == 0:
        found.append(("yet.no_worker", {}))
    elif row.places and row.busy >= row.places:
        found.append(("yet.busy", {"busy": row.busy, "places": row.places}))
    found += [("yet.limit", {"text": tag}) for tag in row.tags if tag.startswith("limit ")]
    return found


_FRAME = re.compile(r'^ *File "([^"]{1,500})", line \d+')


class Part(NamedTuple):
    """Lines that belong together; ``frames``: how many of libraries they are, 0: they are open."""

    text: str
    frames: int = 0


class Attempt(NamedTuple):
    """A failed attempt as its row shows it; texts have no secrets."""

    record: AttemptRecord
    error: str
    """On one line."""
    parts: list[Part]


def attempt_of(record: AttemptRecord) -> Attempt:
    """The row of a record."""
    error = lines(record.message).replace("\n", " ")
    return Attempt(record, error, folded(lines(record.traceback)))


def folded(traceback: str) -> list[Part]:
    """The parts of a traceback."""
    found: list[Part] = []
    for frame in _frames(traceback):
        match = _FRAME.match(frame[0])
        library = int(match is not None and is_library(match[1]))
        text = "\n".join(frame)
        if found and bool(found[-1].frames) == bool(library):
            last = found.pop()
            text, library = f"{last.text}\n{text}", last.frames + library
        found.append(Part(text, library))
    return found


def _frames(traceback: str) -> list[list[str]]:
    """Its lines: each frame with the code below it, and what stands between frames."""
    found: list[list[str]] = []
    is_frame = False
    for each in traceback.splitlines():
        begins = _FRAME.match(each) is not None
        # The code of a frame, and the marks below it, are indented further than the frame.
        if found and not begins and is_frame == each.startswith("    "):
            found[-1].append(each)
            continue
        is_frame = begins
        found.append([each])
    return found


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
