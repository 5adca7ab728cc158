"""Letters: the form of a letter when a batch moves it, and on its way back; no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.message import (
    BATCH,
    DEAD_LETTER_TIME,
    DUE,
    EXPIRES_AT,
    PARTITION_KEY,
    PRIORITY,
    HeaderValue,
    Message,
    is_reserved,
)
from tasuki.queues.dead_letter import KEPT_AT_REDRIVE, redriven
from tasuki.workbench.batches.rules.batch import TRASH_TIME, Act

CHUNK = 100
"""Letters that are moved at a time."""
_WEIGHT = 250_000
"""Bytes of the headers that are noted for the letters of one chunk, but for the last one: less than any store takes."""

Note = Mapping[str, HeaderValue]
"""The headers that a letter must get again."""


def moved_form(message: Message, act: Act, batch: str, now: float, to: QueueSpec | None = None) -> Outgoing:
    """A letter as its batch moves it: to be tried again as it was first published, else with why it died.

    ``to``: the queue that it is moved to, where it keeps its place; see ``_place``.
    """
    if act == "retry":
        sent = redriven(message, now)
    else:
        sent = Outgoing(message.id, message.body, dict(message.headers))
        if act == "delete":
            sent.headers[EXPIRES_AT] = now + TRASH_TIME
        elif to is not None:
            _place(sent, to, now)
    sent.headers[BATCH] = batch
    return sent


def note_of(message: Message, act: Act) -> Note:
    """What the moved form lacks."""
    headers = message.headers
    if act == "retry":
        return {name: value for name, value in headers.items() if is_reserved(name) and name not in KEPT_AT_REDRIVE}
    return {name: headers[name] for name in (BATCH, EXPIRES_AT) if name in headers}


def restored(message: Message, act: Act, note: Note, to: QueueSpec, now: float) -> Outgoing:
    """The letter as it was before its batch moved it; ``to``: the queue where it was."""
    headers = message.headers
    if act == "retry":
        plain = {name: v for name, v in headers.items() if not is_reserved(name) or name in KEPT_AT_REDRIVE}
    else:
        plain = {name: value for name, value in headers.items() if name not in (BATCH, EXPIRES_AT)}
    sent = Outgoing(message.id, message.body, {**plain, **note})
    _place(sent, to, now)
    return sent


def _place(sent: Outgoing, to: QueueSpec, now: float) -> None:
    """Give a message the place that its headers say: priority and key where the queue has such, and when it is due.

    A dead letter is due, whatever is written about its first publish.
    """
    priority, key, due = (sent.headers.get(name) for name in (PRIORITY, PARTITION_KEY, DUE))
    if to.priorities and isinstance(priority, int):
        sent.priority = priority
    if to.ordering == "key" and key is not None:
        sent.key = str(key)
    if isinstance(due, int | float) and DEAD_LETTER_TIME not in sent.headers:
        sent.delay = max(due - now, 0.0)


def weight_of(note: Note) -> int:
    """Its bytes, roughly."""
    return sum(len(name) + len(str(value).encode("utf-8", "replace")) for name, value in note.items())


def has_room(letters: int, weight: int) -> bool:
    """Whether a chunk of so many letters, whose notes have this weight, takes another one."""
    return letters < CHUNK and weight < _WEIGHT
