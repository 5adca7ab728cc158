"""Headers of an edited message: locked, sensitive and free ones, and changes of them; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from tasuki.dead.editing.problems import Problem
from tasuki.errors import PublishError
from tasuki.message import (
    BAGGAGE,
    CONTENT_TYPE,
    CORRELATION_ID,
    MESSAGE_TYPE,
    PARTITION_KEY,
    PRIORITY,
    REPLY_TO,
    TIMESTAMP,
    TRACEPARENT,
    TRACESTATE,
    HeaderValue,
    is_reserved,
)
from tasuki.queues.messages.headers import check_headers, check_name, check_priority

HeaderClass = Literal["locked", "sensitive", "free"]

WARNINGS: Mapping[str, str] = {
    REPLY_TO: "the reply of its handler goes to this queue",
    CORRELATION_ID: "the requester finds the reply by it",
    PARTITION_KEY: "messages of one key keep their order, so another key is another place in it",
    PRIORITY: "it changes when the message is handled",
    CONTENT_TYPE: "the handler decodes the body by it",
    MESSAGE_TYPE: "it names the task that handles the message",
    TIMESTAMP: "the age of the message counts from it",
    TRACEPARENT: "the message joins another trace",
    TRACESTATE: "the message joins another trace",
    BAGGAGE: "handlers and their traces see it",
}
"""Sensitive headers, and what a change of each does."""


def class_of(name: str) -> HeaderClass:
    """Whether only Tasuki writes a header of this name, whether it steers the message, or is the publisher's alone."""
    if is_locked(name):
        return "locked"
    return "sensitive" if name in WARNINGS else "free"


def is_locked(name: str) -> bool:
    """Whether only Tasuki writes it, in letters of any size: a second one beside it would mislead people."""
    return is_reserved(name) or is_reserved(name.casefold())


def changed(
    headers: Mapping[str, HeaderValue], changes: Mapping[str, HeaderValue | None]
) -> tuple[dict[str, HeaderValue], list[Problem], list[str]]:
    """The headers that a publisher has set, with some changed; a change to None takes the header away.

    Returns:
        The headers without those that Tasuki has added; all problems; a warning for each sensitive header that changed.
    """
    own = {name: value for name, value in headers.items() if not is_reserved(name)}
    real = {name: value for name, value in changes.items() if not _is_same(headers, name, value)}
    problems = list(_refused(real))
    refused = {problem.field for problem in problems}
    warnings = []
    for name, value in real.items():
        if field_of(name) in refused:
            continue
        if value is None:
            own.pop(name, None)
        else:
            own[name] = value
        if name in WARNINGS:
            warnings.append(f"{name}: {WARNINGS[name]}")
    if not problems:
        try:
            own = check_headers(own)
        except PublishError as error:  # all together are too many, or too large
            problems.append(Problem("headers", str(error)))
    return own, problems, warnings


def field_of(name: object) -> str:
    """How a problem names a header: also one whose name is hostile."""
    return f"header.{name!r:.80}" if not isinstance(name, str) or not name.isprintable() else f"header.{name[:80]}"


def _is_same(headers: Mapping[str, HeaderValue], name: str, value: HeaderValue | None) -> bool:
    """Whether nothing changes; 1, 1.0 and True are three values."""
    before = headers.get(name)
    return type(before) is type(value) and before == value


def _refused(changes: Mapping[str, HeaderValue | None]) -> Iterator[Problem]:
    for name, value in changes.items():
        if isinstance(name, str) and is_locked(name):
            yield Problem(field_of(name), "only Tasuki sets it: leave it as it is")
            continue
        try:
            check_headers({name: "" if value is None else value})
            if value is not None:
                _check_option(name, value)
        except PublishError as error:
            yield Problem(field_of(name), str(error))


def _check_option(name: str, value: HeaderValue) -> None:
    if name == PRIORITY:
        check_priority(value)
    elif name == PARTITION_KEY:
        check_name("key", value)
    elif name in (REPLY_TO, CORRELATION_ID, CONTENT_TYPE, MESSAGE_TYPE, TRACEPARENT, TRACESTATE, BAGGAGE):
        if not isinstance(value, str):
            raise PublishError(f"{name} must be text")
    elif name == TIMESTAMP and (isinstance(value, str | bool) or not 0 <= value < 2**53):
        raise PublishError(f"{name} must be Unix seconds")
