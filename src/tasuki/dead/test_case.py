"""A message as the source of a test that handles it again."""

from __future__ import annotations

import ast
from pprint import pformat
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.dead.editing.body import plain_codec
from tasuki.message import (
    ATTEMPTS,
    CONTENT_TYPE,
    CORRELATION_ID,
    DEAD_LETTER_REASON,
    ERROR_TYPE,
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
from tasuki.observe.redact import MASK, masked, redact
from tasuki.queues.dead.cause import normalized

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
_REPEATED = {"max_attempts", "not_retryable", "rejected", "invalid", "undecodable", "unknown_task"}
"""Reasons of dead letters that come again when the same message is published to the same handler."""
_WIDTH = 100
_STARTS = 60
"""Characters of an error that a test compares."""
_MOST = 300
"""Characters of an error in the docstring."""


def as_test(message: Message, body: Any, queue: str, codec: Codec) -> str:
    """A test for the fixture ``tasuki_app``: it publishes the message where it came from.

    Of a dead letter whose handler failed it wants the same failure, and says in a comment what to want once the handler
    is fixed; of any other message it expects that at once. Values of telling names, and secrets in texts, are masked.

    Args:
        message: as it waits, or as it was dead-lettered.
        body: decoded; bytes where it is bytes, or cannot be decoded.
        queue: the id of the queue that it is in.
        codec: of the body.
    """
    name = "".join(char if f"_{char}".isidentifier() else "_" for char in message.id).strip("_") or "message"
    origin = str(message.headers.get(ORIGINAL_QUEUE, queue))
    arguments, is_masked = _body_and_options(message, body, codec)
    call = ", ".join([repr(origin), *arguments])
    if len(call) > _WIDTH or "\n" in call:
        call = (
            "\n"
            + "".join(
                f"        {argument.replace(chr(10), chr(10) + ' ' * 8)},\n" for argument in (repr(origin), *arguments)
            )
            + "    "
        )
    return (
        "from tasuki.testing import TestApp\n\n\n"
        f"def test_message_{name}(tasuki_app: TestApp) -> None:\n"
        f'    """{_what_happened(message)}"""\n'
        + (
            f"    # Its secrets are masked: write values for tests in the place of {MASK!r} and 0.\n"
            if is_masked
            else ""
        )
        + f"    tasuki_app.sync.publish({call})\n"
        '    tasuki_app.sync.advance("1d")  # all its retries\n' + _wanted(message, origin)
    )


def _wanted(message: Message, origin: str) -> str:
    """What the test asserts."""
    mended = ["assert tasuki_app.dead == []", f"assert tasuki_app.settled({origin!r})[-1:] == ['ack']"]
    reason = message.headers.get(DEAD_LETTER_REASON)
    if reason not in _REPEATED:
        return "".join(f"    {line}\n" for line in mended)
    error, kind = str(message.headers.get(LAST_ERROR, "")), message.headers.get(ERROR_TYPE)
    lines = [f"assert [letter.reason for letter in tasuki_app.dead] == [{reason!r}]", "letter = tasuki_app.dead[0]"]
    if kind:
        lines.append(f"assert letter.headers[{ERROR_TYPE!r}] == {kind!r}")
    if error and normalized(error) == error == redact(error):  # the same at each failure
        start = error[:_STARTS]
        lines.append(f"assert letter.error{f' == {error!r}' if start == error else f'.startswith({start!r})'}")
    lines = lines if len(lines) > 2 else lines[:1]
    lines += [
        "# Once the handler is fixed, replace the lines above by:",
        *(f"# {each}" for each in mended),
    ]
    return "".join(f"    {line}\n" for line in lines)


def _body_and_options(message: Message, body: Any, codec: Codec) -> tuple[list[str], bool]:
    """The arguments after the queue, and whether something in them is masked."""
    headers: dict[str, HeaderValue] = {
        name: masked(value, name, keeps_types=True)
        for name, value in message.headers.items()
        if name not in _OF_ONE_PUBLISH and not is_reserved(name)
    }
    is_same = all(message.headers[name] == value for name, value in headers.items())
    given, body = body, masked(body, keeps_types=True)
    is_masked = not is_same or (body is not given and repr(body) != repr(given))
    if given == message.body and CONTENT_TYPE in message.headers:  # published as it is, with what it claims to be
        headers[CONTENT_TYPE] = message.headers[CONTENT_TYPE]
    if not _can_be_written(body):
        codec = plain_codec(codec)
        headers[CONTENT_TYPE], body = codec.name, codec.encode(body)
    return [_literal(body), *_options(message, headers)], is_masked


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
