"""The form of a letter when a batch moves it, and on its way back; no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing, QueueSpec, Waiting
from tasuki.dead.batch import TRASH_TIME, Act
from tasuki.message import (
    BATCH,
    DUE,
    EXPIRES_AT,
    PARTITION_KEY,
    PRIORITY,
    HeaderValue,
    Message,
    is_reserved,
)
from tasuki.queues.dead_letter import KEPT_AT_REDRIVE, OF_A_LETTER, is_letter, moved, sent_back

CHUNK = 100
"""Letters that are moved at a time."""

_WEIGHT = 250_000
"""Bytes of the headers that are noted for the letters of one chunk, but for the last one: less than any store takes."""


Note = Mapping[str, HeaderValue]
"""The headers that a letter must get again."""


def moved_form(message: Message, act: Act, batch: str, now: float, to: QueueSpec | None = None) -> Outgoing:
    """A letter as its batch moves it: to be tried again as it was first published, else with why it died.

    One that has not died, but only waits, is moved as it waits. ``to``: the queue that a letter is moved to, where it
    keeps its place.
    """
    if act == "retry":
        sent = sent_back(message, now)
    elif act == "move":
        sent = _as_it_is(message, to)
    else:
        sent = _for_the_trash(message, now)
    sent.headers[BATCH] = batch
    return sent


def note_of(message: Message, act: Act) -> Note:
    """What the moved form lacks."""
    headers = message.headers
    if act == "retry" and is_letter(message):
        return {name: value for name, value in headers.items() if is_reserved(name) and name not in KEPT_AT_REDRIVE}
    return {name: headers[name] for name in (BATCH, EXPIRES_AT) if name in headers}


def restored(message: Message, act: Act, note: Note, to: QueueSpec, now: float) -> Outgoing:
    """The message as it was before its batch moved it; ``to``: the queue where it was.

    A letter has no delay and no failure there; one that only waited keeps what it has by now.
    """
    headers = message.headers
    if act == "retry" and not OF_A_LETTER.isdisjoint(note):
        plain = {name: v for name, v in headers.items() if not is_reserved(name) or name in KEPT_AT_REDRIVE}
    else:
        own = (BATCH,) if act == "retry" else (BATCH, EXPIRES_AT)
        plain = {name: value for name, value in headers.items() if name not in own}
    sent = _as_it_is(replace(message, headers={**plain, **note}), to)
    due = sent.headers.get(DUE)
    if act == "delete" and not is_letter(sent) and isinstance(due, int | float):
        sent.delay = max(due - now, 0.0)  # in the trash it had none
    return sent


def _for_the_trash(message: Message, now: float) -> Outgoing:
    """Ready there, but its headers say when it was to be ready, and how often it has failed."""
    waiting = Outgoing(message.id, message.body, dict(message.headers)) if is_letter(message) else moved(message)
    headers = {**waiting.headers, EXPIRES_AT: now + TRASH_TIME}
    if waiting.delay or (DUE in headers and isinstance(message, Waiting) and not is_letter(message)):
        headers[DUE] = now + waiting.delay
    return Outgoing(message.id, message.body, headers)


def _as_it_is(message: Message, to: QueueSpec | None) -> Outgoing:
    """A letter with why it died, with priority and key where the queue has such; another message as it waits."""
    if not is_letter(message):
        return moved(message)
    sent = Outgoing(message.id, message.body, dict(message.headers))
    priority, key = (sent.headers.get(name) for name in (PRIORITY, PARTITION_KEY))
    if to is not None and to.priorities and isinstance(priority, int):
        sent.priority = priority
    if to is not None and to.ordering == "key" and key is not None:
        sent.key = str(key)
    return sent


def weight_of(note: Note) -> int:
    """Its bytes, roughly."""
    return sum(len(name) + len(str(value).encode("utf-8", "replace")) for name, value in note.items())


def has_room(letters: int, weight: int) -> bool:
    """Whether a chunk of this many letters, whose notes have this weight, takes another one."""
    return letters < CHUNK and weight < _WEIGHT
