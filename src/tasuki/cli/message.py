"""Messages as commands show them: find one by its id, page through a queue, decode a body."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.output import age, is_time, iso, moment
from tasuki.message import DEAD_LETTER_TIME, DUE, EXPIRES_AT, LAST_ERROR_TIME, TIMESTAMP

if TYPE_CHECKING:
    from tasuki.dead.selection import Choice
    from tasuki.message import Message
    from tasuki.queues.dead.attempts import AttemptRecord
    from tasuki.queues.queue import Queue


TIMES = {
    TIMESTAMP: "published_at",
    DUE: "due_at",
    EXPIRES_AT: "expires_at",
    LAST_ERROR_TIME: "last_error_at",
    DEAD_LETTER_TIME: "dead_letter_at",
}
"""Headers that hold Unix seconds → what a command calls them, in ISO 8601."""
_SHORT = 4096
"""Bytes that a body on one line is read from."""


async def peek(queue: Queue, limit: int) -> list[Message]:
    """The first waiting messages, in pages, because a driver gives at most ``max_batch`` at a time."""
    found: list[Message] = []
    page = queue.driver.capabilities.max_batch
    while len(found) < limit:
        more = await queue.peek(min(limit - len(found), page), len(found))
        found += more
        if not more:
            break
    return found


async def find(queue: Queue, id: str) -> Message | None:
    """The waiting message of an id; None: it is not in the queue, or a consumer holds it."""
    page, seen = queue.driver.capabilities.max_batch, 0
    while more := await queue.peek(page, seen):
        for message in more:
            if message.id == id:
                return message
        seen += len(more)
    return None


def body_of(queue: Queue, message: Message) -> Any:
    """The decoded body; bytes where it is bytes, or cannot be decoded."""
    from tasuki.errors import CodecError, InvalidBodyError

    try:
        return queue.decode(message)
    except (CodecError, InvalidBodyError):
        return message.body


def _beginning(queue: Queue, message: Message) -> Any:
    """The same of a small body; of a large one the beginning of its text, or of its bytes."""
    from tasuki.errors import TasukiError
    from tasuki.queues.messages.beginning import beginning_of, text_of

    try:
        first = beginning_of(message.body, queue.codec_of(message), _SHORT)
    except TasukiError:
        return message.body[:_SHORT]
    if first.is_whole:
        return body_of(queue, message)
    text = text_of(first)
    return first.data if text is None else text


def as_dict(queue: Queue, message: Message, *, is_short: bool = False, shows_secrets: bool = False) -> dict[str, Any]:
    """Id, headers and ``body``, without secrets; where that is bytes ``body_base64`` stands in its place.

    ``is_short``: it is shown on one line, so of a large body only the beginning is read.
    """
    from tasuki.observe.redact import masked

    shown: dict[str, Any] = {"id": message.id, "headers": message.headers}
    body = (_beginning if is_short else body_of)(queue, message)
    if not shows_secrets:
        shown["headers"], body = masked(message.headers), masked(body)
    times = {name: message.headers.get(header) for header, name in TIMES.items()}
    shown |= {name: iso(at) for name, at in times.items() if is_time(at)}
    if isinstance(body, bytes):
        return {**shown, "body_base64": base64.b64encode(body).decode()}
    return {**shown, "body": body}


def readable(headers: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Headers as people read them: times as dates."""
    return {name: moment(value, now) if name in TIMES and is_time(value) else value for name, value in headers.items()}


def attempt_texts(records: Iterable[AttemptRecord], now: float) -> list[str]:
    """A text for each failed attempt: when, where and how long, the error, and its traceback below."""
    return [_attempt_text(record, now) for record in records]


def _attempt_text(record: AttemptRecord, now: float) -> str:
    again = f" after redrive {record.round}" if record.round else ""
    where = f" on {record.worker}" if record.worker else ""
    at = f" at {record.place}" if record.place else ""
    head = f"attempt {record.attempt}{again}: {age(now - record.at)} ago{where}, took {_took(record.took)}{at}"
    said = record.traceback or record.message or "(no error)"
    return f"{head}\n{textwrap.indent(said, '  ')}"


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def choice_of(where: str, ids: Collection[str]) -> Choice:
    """The choice of ``--where`` and ``--id``. Raises click.BadParameter."""
    from tasuki.dead.selection import Choice, check_texts

    try:
        check_texts(*ids)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--id") from error
    try:
        return Choice(where, ids)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--where") from error
