"""Bodies and headers as text that is safe to show: bounded, without secrets, hidden characters made visible."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date

import msgspec

from tasuki.errors import TasukiError
from tasuki.message import ATTEMPT_RECORDS, LAST_TRACEBACK, Message
from tasuki.observe.plain import cut, escape, escape_lines
from tasuki.observe.redact import masked, redact, redact_bytes
from tasuki.queues.queue import Queue
from tasuki.workbench.editing.body import grows_long

MOST_SHOWN = 64 * 1024
"""Characters of a body on its page."""
_PREVIEW = 120
_READ_AHEAD = 8
_APART = frozenset({LAST_TRACEBACK, ATTEMPT_RECORDS})


@dataclass(frozen=True, slots=True)
class Body:
    """A body: ``kind`` is ``json``, ``text`` or ``bytes``."""

    text: str
    kind: str
    size: int
    """Bytes as they travel."""
    is_cut: bool


def preview(queue: Queue, message: Message) -> str:
    """A body on one line, in ``_PREVIEW`` characters."""
    raw = message.body[: _PREVIEW * _READ_AHEAD]
    if queue.codec_of(message).name == "json/plain":
        text = raw.decode("utf-8", "replace")
    else:
        value = _value(queue, message)
        text = _hex(value) if isinstance(value, bytes) and _text(value) is None else _text(value) or _json(value)
        text = text[: _PREVIEW * _READ_AHEAD]
    return cut_plainly(escape(redact(text)), _PREVIEW)


def body_of(queue: Queue, message: Message) -> Body:
    """The whole body, laid out; numbers of JSON keep their digits."""
    size = len(message.body)
    if queue.codec_of(message).name == "json/plain":
        try:
            if grows_long(message.body):  # its blanks would be many times as long as the rest
                return _body(message.body.decode(), "json", size)
            return _body(msgspec.json.format(message.body, indent=2).decode(), "json", size)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # it is shown as it is
    value = _value(queue, message)
    if not isinstance(value, bytes):
        return _body(_json(value), "json", size)
    text = _text(value)
    return _body(_hex(value), "bytes", size) if text is None else _body(text, "text", size)


def headers_of(message: Message) -> list[tuple[str, str]]:
    """Names and values, sorted, but for those that the page shows apart; a value of a telling name is masked."""
    pairs = sorted(message.headers.items())
    return [(cut(escape(name), 200), _header(name, value)) for name, value in pairs if name not in _APART]


def lines(text: object) -> str:
    """Text of several lines, such as a traceback."""
    return cut(escape_lines(redact(str(text))), MOST_SHOWN)


def line(text: object, most: int = 300) -> str:
    """Any text on one line."""
    return cut_plainly(escape(redact(str(text)[: most * _READ_AHEAD])), most)


def cut_plainly(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _header(name: str, value: object) -> str:
    return cut(escape(str(masked(value, name))), 2000)


def _body(text: str, kind: str, size: int) -> Body:
    shown = escape_lines(redact(text[: 2 * MOST_SHOWN]))
    return Body(shown[:MOST_SHOWN], kind, size, len(text) > MOST_SHOWN)


def plain_of(queue: Queue, message: Message) -> object:
    """The body as JSON can carry it, with its secrets masked; bytes, with those masked that are texts in them."""
    value = _value(queue, message)
    if isinstance(value, bytes):
        return redact_bytes(value)
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


def _text(value: object) -> str | None:
    """The text that bytes are; None: they are none that people read."""
    if not isinstance(value, bytes):
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if any(char < " " and char not in "\n\r\t" for char in text) else text


def _hex(value: bytes) -> str:
    rows = []
    value = redact_bytes(value[: 32 * 1024])
    for at in range(0, min(len(value), 16 * 1024), 16):
        part = value[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{at:08x}  {part.hex(' '):<47}  {text}")
    return "\n".join(rows) or "00000000  "
