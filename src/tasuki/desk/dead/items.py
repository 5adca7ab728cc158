"""Item: one dead letter as lists show it, a few KiB at most, whatever the letter holds; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasuki.contracts.driver import Waiting, place_of
from tasuki.dead.selection import Choice
from tasuki.desk.reading.bodies import preview
from tasuki.message import CONTENT_TYPE, PARTITION_KEY, Message, cause_in
from tasuki.queues.dead.cause import first_line
from tasuki.queues.dead.letter import Letter, letter_in, name_of
from tasuki.queues.queue import Queue

_MOST_TEXT = 300
_BODY = 1024
"""Bytes of a body that are kept: what a preview looks at."""


@dataclass(frozen=True, slots=True)
class Item:
    """A letter without its traceback, without most of its headers and with the beginning of its body."""

    letter: Letter
    number: int
    """Where it was in its queue."""
    name: str
    """Means this letter alone: see :mod:`tasuki.queues.dead.letter`."""
    key: str
    shown: str | None
    """The body on one line; None: it is made when it is shown."""
    is_marked: bool = False
    """Whether the message itself says its cause, so that an index knows it."""

    @property
    def at(self) -> tuple[str, str]:
        """Where it is stored, as far as its driver says: pages that shift meanwhile may show one twice."""
        return self.letter.id, place_of(self.letter.message) or self.name

    def body(self, queue: Queue) -> str:
        """The body on one line."""
        return preview(queue, self.letter.message) if self.shown is None else self.shown


def items_of(source: Queue, messages: Sequence[Message], start: int, choice: Choice, now: float) -> list[Item]:
    """The chosen ones of these messages, of which the first is number ``start``. May run in any thread."""
    found = []
    for number, message in enumerate(messages, start):
        letter = letter_in(message, source.id)
        if choice.chosen(letter, source, now):
            found.append(_item(source, letter, number))
    return found


def _item(source: Queue, letter: Letter, number: int) -> Item:
    message = letter.message
    headers = message.headers
    is_whole = len(message.body) <= _BODY
    # Of the codecs only plain JSON can be shown from the beginning of a body.
    is_plain = is_whole or source.codec_of(message).name == "json/plain"
    kept = {name: headers[name] for name in (CONTENT_TYPE,) if name in headers}
    slim = replace(
        letter,
        message=Waiting(message.id, message.body[:_BODY], kept, place_of(message)),
        queue=_cut(letter.queue),
        reason=_cut(letter.reason),
        type=_cut(letter.type),
        place=_cut(letter.place),
        cause=_cut(letter.cause),
        error=first_line(letter.error)[:_MOST_TEXT],
        task=_cut(letter.task),
        consumer=_cut(letter.consumer),
    )
    return Item(
        slim,
        number,
        name_of(message),
        _cut(str(headers.get(PARTITION_KEY, ""))),
        None if is_plain else preview(source, message),
        bool(cause_in(headers)),
    )


def _cut(text: str) -> str:
    return text[:_MOST_TEXT].encode("utf-8", "replace").decode()
