"""Frames between a parent and a child: four bytes of length, then one msgpack document. No I/O.

A question is ``[number, name, arguments]``. Its answer is ``[number, problem, value]``, where ``problem`` is empty or
says why there is no value. The child reports something unasked as ``[0, name, value]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

MAX_BYTES = 64 * 2**20
"""Largest document; both ends run the same program, so a larger one is a broken stream."""

_LENGTH = 4


class Frame(NamedTuple):
    """One document, either way."""

    number: int
    text: str
    """The name of the question, or why there is no answer."""
    value: Any


def encode(number: int, text: str, value: Any) -> bytes:
    """One frame. Raises TypeError, ValueError, OverflowError: msgpack cannot carry the value, or it is too large."""
    document = msgspec.msgpack.encode((number, text, value))
    if len(document) > MAX_BYTES:
        raise ValueError(f"{len(document)} bytes are more than a frame holds ({MAX_BYTES})")
    return len(document).to_bytes(_LENGTH, "big") + document


class Frames:
    """Joins the pieces that arrive from a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with this piece. Raises ValueError: the stream is broken."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._buffer[:_LENGTH], "big")
            if end - _LENGTH > MAX_BYTES:
                raise ValueError(f"a frame of {end - _LENGTH} bytes is announced: the stream is broken")
            if len(self._buffer) < end:
                return
            document = bytes(self._buffer[_LENGTH:end])
            del self._buffer[:end]
            yield msgspec.msgpack.decode(document, type=Frame)
