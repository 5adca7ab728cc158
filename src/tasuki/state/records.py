"""Records that a handler's work depends on: an unreadable one stops the work, which is retried; no I/O."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tasuki.errors import HandlerError

R = TypeVar("R")


def read(decoder: msgspec.msgpack.Decoder[R], value: bytes, of: str) -> R:
    """The record of a value in a store; ``of``: what it is a record of, for the error.

    Raises:
        HandlerError: kind Internal: another version of Tasuki wrote it.
    """
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = f"the record of {of} cannot be read, another version has written it: {error}"
        raise HandlerError(problem, kind="Internal", retryable=True) from error
