"""Records in a store: the parts of their keys, and how to read one that a handler's work depends on; no I/O."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeVar

import msgspec

from tasuki.errors import HandlerError

_MOST_BYTES = 200
"""Longest id that is in a key as it is: with the longest name of a queue it is a key that every store takes."""


def part_of(id: str) -> str:
    """The id of a message as the last part of a key: itself, or its digest where no store would take it."""
    content = id.encode("utf-8", "surrogatepass")
    return id if id.isprintable() and len(content) <= _MOST_BYTES else f"sha256 {sha256(content).hexdigest()}"


def limit_key(driver: str, queue: str) -> str:
    """The key of a queue's limit: queues of two drivers may have one name, and share a store.

    ``driver``: the id of its entry; ``queue``: its name at the broker.
    """
    return f"limit/{part_of(driver)}/{queue}"


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
