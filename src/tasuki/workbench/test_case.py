"""A message as the source of a test that handles it again."""

from __future__ import annotations

import ast
from pprint import pformat
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.message import (
    ATTEMPTS,
    CONTENT_TYPE,
    CORRELATION_ID,
    DEAD_LETTER_REASON,
    LAST_ERROR,
    ORIGINAL_QUEUE,
    PARTITION_KEY,
    PRIORITY,
    REPLY_TO,
    TIMESTAMP,
    TRACEPARENT,
    HeaderValue,
    Message,
    is_reserved,
)
from tasuki.queues.messages.compression import CompressedCodec

_OF_ONE_PUBLISH = {
    TIMESTAMP,
    REPLY_TO,
    CORRELATION_ID,
    TRACEPARENT,
    "tracestate",
    CONTENT_TYPE,
    PRIORITY,
    PARTITION_KEY,
}
_WIDTH = 100
_MOST = 300
"""Characters of an error in the docstring."""


def as_test(message: Message, body: Any, queue: str, codec: Codec) -> str:
    """A test for the fixture ``tasuki_app``: it publishes the message where it came from, and wants it handled.

    Args:
        message: as it waits, or as it was dead-lettered.
        body: decoded; bytes where it is bytes, or cannot be decoded.
        queue: the id of the queue that it is in.
        codec: of the body.
    """
    name = "".join(char if f"_{char}".isidentifier() else "_" for char in message.id).strip("_") or "message"
    origin = str(message.headers.get(ORIGINAL_QUEUE, queue))
    arguments = [repr(origin), *_body_and_options(message, body, codec)]
    call = ", ".join(arguments)
    if len(call) > _WIDTH or "\n" in call:
        call = (
            "\n"
            + "".join(f"        {argument.replace(chr(10), chr(10) + ' ' * 8)},\n" for argument in arguments)
            + "    "
        )
    return (
        "from tasuki.testing import TestApp\n\n\n"
        f"def test_message_{name}(tasuki_app: TestApp) -> None:\n"
        f'    """{_what_happened(message)}"""\n'
        f"    tasuki_app.sync.publish({call})\n"
        '    tasuki_app.sync.advance("1d")  # all its retries\n'
        "    assert tasuki_app.dead == []\n"
        f"    assert tasuki_app.settled({origin!r})[-1:] == ['ack']\n"
    )


def _body_and_options(message: Message, body: Any, codec: Codec) -> list[str]:
    headers = {
        name: value for name, value in message.headers.items() if name not in _OF_ONE_PUBLISH and not is_reserved(name)
    }
    if body == message.body and CONTENT_TYPE in message.headers:  # published as it is, with what it claims to be
        headers[CONTENT_TYPE] = message.headers[CONTENT_TYPE]
    if not _can_be_written(body):
        codec = codec.inner if isinstance(codec, CompressedCodec) else codec
        headers[CONTENT_TYPE], body = codec.name, codec.encode(body)
    return [_literal(body), *_options(message, headers)]


def _can_be_written(value: Any) -> bool:
    """Whether Python reads the literal of a value as the same; MessagePack has times, and a body may be nested deep."""
    try:
        return bool(ast.literal_eval(_literal(value)) == value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _options(message: Message, headers: dict[str, HeaderValue]) -> list[str]:
    options = [f"headers={_literal(headers)}"] if headers else []
    for header, option in ((PRIORITY, "priority"), (PARTITION_KEY, "key")):
        if header in message.headers:
            options.append(f"{option}={message.headers[header]!r}")
    return options


def _literal(value: Any) -> str:
    return pformat(value, width=_WIDTH - 10, sort_dicts=False)


def _what_happened(message: Message) -> str:
    """One line that is safe in a docstring."""
    headers = message.headers
    if DEAD_LETTER_REASON not in headers:
        return _in_docstring(f"Message {message.id}")
    error = " ".join(str(headers.get(LAST_ERROR, "")).split())[:_MOST]
    noun = "attempt" if headers.get(ATTEMPTS) == 1 else "attempts"
    attempts = f" after {headers[ATTEMPTS]} {noun}" if ATTEMPTS in headers else ""
    text = f"{headers[DEAD_LETTER_REASON]}{attempts}: {error}" if error else f"{headers[DEAD_LETTER_REASON]}{attempts}"
    return _in_docstring(text)


def _in_docstring(text: str) -> str:
    return text.encode("unicode_escape").decode().replace('"', "'") + "."
