"""Bodies and headers as text that is safe to show: bounded, without secrets, hidden characters made visible."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import date

import msgspec

from tasuki.dead.editing.body import grows_long
from tasuki.desk.api.answers import ShownBody
from tasuki.errors import TasukiError
from tasuki.message import ATTEMPT_RECORDS, LAST_TRACEBACK, Message
from tasuki.observe.plain import cut, escape, escape_lines
from tasuki.observe.redact import MASK, masked, redact, redact_bytes
from tasuki.queues.messages.beginning import Beginning, beginning_of, decoded, text_of
from tasuki.queues.messages.codec import JSON, BytesCodec
from tasuki.queues.queue import Queue

MOST_SHOWN = 64 * 1024
"""Characters of a body on its page."""
_LAID_OUT = 256 * 1024
"""Bytes of the largest body that is laid out; of others the beginning is shown as it is."""
_PREVIEW = 120
_READ_AHEAD = 8
_MOST_OF_HEADERS = 128 * 1024
"""Characters of all headers that are looked through for secrets; of what comes after them the names alone are shown."""
_MOST_OF_HEADER, _MOST_NAME = 2000, 300
_MORE = "…"
_BYTES = BytesCodec()
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_APART = frozenset({LAST_TRACEBACK, ATTEMPT_RECORDS})


def preview(queue: Queue, message: Message) -> str:
    """A body on one line, in ``_PREVIEW`` characters; only the beginning of the body is read."""
    first = _beginning(queue, message, _PREVIEW * _READ_AHEAD)
    is_json = first.codec.name == JSON
    text = decoded(first.data, "replace") if is_json else _read(first)[0][: _PREVIEW * _READ_AHEAD]
    return cut_plainly(escape(redact(text)), _PREVIEW)


def body_of(queue: Queue, message: Message) -> ShownBody:
    """A body, laid out unless it is large; numbers of JSON keep their digits."""
    size, first = len(message.body), _beginning(queue, message, _LAID_OUT)
    if first.codec.name == JSON and first.is_whole:
        try:
            if grows_long(first.data):  # its blanks would be many times as long as the rest
                return _body(first.data.decode(), "json", size)
            return _body(msgspec.json.format(first.data, indent=2).decode(), "json", size)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # it is shown as it is
    is_whole = first.is_whole and len(first.data) <= MOST_SHOWN
    text, kind = _read(Beginning(first.data[: 2 * MOST_SHOWN], first.codec, is_whole))
    return _body(text, kind, size, is_cut=not is_whole)


def is_long(queue: Queue, message: Message) -> bool:
    """Whether a body, or the headers together, are more than their page shows."""
    return has_long_headers(message) or not _beginning(queue, message, MOST_SHOWN).is_whole


def has_long_headers(message: Message) -> bool:
    """Whether the headers together are more than is looked through for secrets."""
    return sum(len(name) + len(str(value)) for name, value in message.headers.items()) > _MOST_OF_HEADERS


def headers_of(message: Message) -> list[tuple[str, str]]:
    """Names and values, sorted, but for those that the page shows apart; a value of a telling name is masked."""
    found, left = [], _MOST_OF_HEADERS
    for name, value in sorted(message.headers.items()):
        if name not in _APART:
            text = str(value)
            found.append((cut(escape(name[:_MOST_NAME]), 200), _header(name, text) if left > 0 else _MORE))
            left -= min(len(text), _MOST_OF_HEADER * _READ_AHEAD)
    return found


def lines(text: object) -> str:
    """Text of several lines, such as a traceback."""
    return cut(escape_lines(redact(str(text)[: 2 * MOST_SHOWN])), MOST_SHOWN)


def line(text: object, most: int = 300) -> str:
    """Any text on one line."""
    return cut_plainly(escape(redact(str(text)[: most * _READ_AHEAD])), most)


def cut_plainly(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _header(name: str, text: str) -> str:
    if len(name) > _MOST_NAME:
        return MASK
    return cut(escape(str(masked(text[: _MOST_OF_HEADER * _READ_AHEAD], name))), _MOST_OF_HEADER)


def _body(text: str, kind: str, size: int, *, is_cut: bool = False) -> ShownBody:
    shown = escape_lines(redact(text[: 2 * MOST_SHOWN]))
    return ShownBody(kind, size, shown[:MOST_SHOWN], is_cut or len(text) > MOST_SHOWN, None)


def _beginning(queue: Queue, message: Message, size: int) -> Beginning:
    """The first bytes of a body; as they travel, if their compression cannot be read."""
    try:
        return beginning_of(message.body, queue.codec_of(message), size)
    except TasukiError:
        return Beginning(message.body[:size], _BYTES, len(message.body) <= size)


def _read(first: Beginning) -> tuple[str, str]:
    """The text of a body, and its kind."""
    if not first.is_whole and (text := text_of(first)) is not None:
        return text, "json"
    value: object = first.data
    if first.is_whole:
        with suppress(TasukiError):
            value = first.codec.decoder()(first.data)
    if not isinstance(value, bytes):
        return _json(value), "json"
    text = _text(value, is_whole=first.is_whole)
    return (_hex(value), "bytes") if text is None else (text, "text")


def most_of(queue: Queue) -> int:
    """Bytes of the largest body that the queue takes."""
    return max(queue.policy.max_message_size, queue.policy.max_letter_size)


def plain_of(queue: Queue, message: Message) -> object:
    """The body as JSON can carry it, with its secrets masked; bytes, with those masked that are texts in them.

    Of bytes that are more than the queue takes, the first.
    """
    value = _value(queue, message)
    if isinstance(value, bytes):
        return redact_bytes(value[: most_of(queue)])
    try:
        return json.loads(json.dumps(masked(value), default=_plainly))
    except (TypeError, ValueError, RecursionError):  # names that are no text, or nested too deep
        return redact(repr(value))


def _value(queue: Queue, message: Message) -> object:
    """The body decoded; bytes, if it is bytes or cannot be decoded."""
    try:
        return queue.decode(message)
    except TasukiError:
        return message.body


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, default=_plainly)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _plainly(value: object) -> str:
    """A value that JSON has not, as text."""
    return value.isoformat() if isinstance(value, date) else repr(value)


def _text(value: bytes, *, is_whole: bool) -> str | None:
    """The text that bytes are; None: they are none that people read."""
    try:
        text = value.decode() if is_whole else decoded(value)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _hex(value: bytes) -> str:
    rows = []
    value = redact_bytes(value[: 32 * 1024])
    for at in range(0, min(len(value), 16 * 1024), 16):
        part = value[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{at:08x}  {part.hex(' '):<47}  {text}")
    return "\n".join(rows) or "00000000  "
