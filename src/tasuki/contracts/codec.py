"""The codec contract: values to bytes and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Codec(Protocol):
    """Encodes message bodies. ``name`` is its content type (``json/plain``, ``application/msgpack``)."""

    name: str

    def encode(self, value: Any) -> bytes:
        """Bytes of a value. Raises CodecError for a value that it cannot carry.

        Results are written so; a published body must also be kept unchanged, and the codecs of this package check that
        by themselves (``tasuki.queues.messages.codec.unchanged``).
        """

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """A function from bytes to a value of the type.

        It raises CodecError for bytes that are not of this codec, InvalidBodyError for a value that does not fit.
        """
