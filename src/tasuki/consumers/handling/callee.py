"""Callee: one function of a consumer, ready to handle messages: its decoder, rules and middleware."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tasuki.consumers.surroundings import Handle
from tasuki.contracts.context import Reach
from tasuki.contracts.driver import Received
from tasuki.contracts.handler import Context, Handler
from tasuki.errors import UnknownTaskError
from tasuki.message import CONTENT_TYPE, MESSAGE_TYPE
from tasuki.queues.queue import Queue
from tasuki.registry.entry import did_you_mean

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Holder

_MOST_SHOWN = 100
"""Characters of a task's name in an error."""


@dataclass(frozen=True, slots=True)
class Callee:
    """A function that is ready to be called with messages."""

    decode: Callable[[bytes], Any]
    """Of a body in the format of its queue."""
    decode_as: Callable[[Received], Any]
    """Of a body whose header names its format: bytes, or another queue's codec."""
    handle: Handle
    """The function within its middleware."""
    reach: Reach[Context]
    holder: Holder
    """What its deliveries see of their consumer."""
    limit: float | None
    """Its ``handler_timeout`` in seconds."""
    needs_context: bool = True
    """Whether the function, its middleware or an observer looks at the context."""

    def read(self, received: Received) -> Any:
        """The decoded body. Raises what a decoder raises."""
        return self.decode_as(received) if CONTENT_TYPE in received.headers else self.decode(received.body)


def decoder_by_header(handler: Handler, queue: Queue) -> Callable[[Received], Any]:
    """The decoding of messages with the header ``content_type``."""
    decoders: dict[str, Callable[[bytes], Any]] = {}

    def decode_as(received: Received) -> Any:
        codec = queue.codec_of(received)
        decode = decoders.get(codec.name)  # content types come from outside, of codecs there are a few
        if decode is None:
            decode = decoders[codec.name] = handler.decoder(codec)
        return decode(received.body)

    return decode_as


def refusing(received: Received, known: Collection[str], holder: Holder, reach: Reach[Context]) -> Callee:
    """In place of the function for one message whose task the consumer does not have: refuses to decode it."""
    name, names = received.headers.get(MESSAGE_TYPE), ", ".join(known)
    if name is None:
        error = UnknownTaskError(f"the message names no task: its header {MESSAGE_TYPE!r} must be one of {names}")
    else:
        hint = did_you_mean(str(name), known) or f"it has {names}"
        text = f"this consumer has no task {str(name)[:_MOST_SHOWN]!r}; {hint}"
        error = UnknownTaskError(text, kind="NotFound")

    def refuse(*args: object) -> NoReturn:
        raise error

    return Callee(refuse, refuse, refuse, reach, holder, None)
