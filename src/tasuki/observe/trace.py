"""The current trace, and the headers that pass it to other messages (W3C Trace Context)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeGuard

from tasuki.message import BAGGAGE, TRACEPARENT, TRACESTATE, HeaderValue, Message

Headers = Mapping[str, HeaderValue]
"""The headers of a message; only the ones that name its trace are read."""

MAX_TRACESTATE = 512
"""Most characters of a ``tracestate`` that is handed on; a longer one loses members."""
MAX_BAGGAGE = 8192
"""Most characters of a ``baggage`` that is handed on, where that is asked for."""
_LONG_MEMBER = 128
"""Members that are longer than this go first, as W3C Trace Context asks for."""

APART: Headers = MappingProxyType({})
"""As the trace that runs now: each message that is published begins its own trace."""

CURRENT: ContextVar[Headers | None] = ContextVar("tasuki_trace", default=None)
"""The headers of the trace that runs now, as they came: read them with ``handed_on``. None: no trace."""

_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?", re.ASCII
)
"""Of version 00, which ends with its flags, or of a later one, which may go on; no id is zero."""
_TRACESTATE = re.compile(r"[ -~]+")
_MOST = 256
"""Longest ``traceparent``: a later version may append to it."""
_LENGTH = 55
_DIGITS = 52
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
NOT_SAMPLED = frozenset(f"-{flags:02x}" for flags in range(0, 256, 2))
"""How a ``traceparent`` of a trace that is not recorded ends: the last three of its 55 characters."""


class Traceparent(NamedTuple):
    """A valid ``traceparent``: ids in lower-case hexadecimal digits, and the flags."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Whether its trace is recorded."""
        return bool(self.flags & 1)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


class OpenSpan(Protocol):
    """The span of a handler, while its trace is recorded."""

    @property
    def headers(self) -> Headers:
        """They continue the trace from this span."""

    def event(self, name: str, attributes: Mapping[str, str | float]) -> None:
        """Note that something has happened; from any thread."""


def traceparent_of(value: object) -> Traceparent | None:
    """The parts of a ``traceparent``; None: it is not valid, or there is none. It comes from outside."""
    return Traceparent(value[3:35], value[36:52], int(value[53:55], 16)) if _is_valid(value) else None


def _is_valid(value: object) -> TypeGuard[str]:
    if type(value) is str and len(value) == _LENGTH and value.startswith("00-") and value[35] == "-" == value[52]:
        digits = value.replace("-", "")
        try:  # three times as fast as the pattern
            is_lower = len(digits) == _DIGITS and bytes.fromhex(digits).hex() == digits
        except ValueError:
            return False
        return is_lower and value[3:35] != _NO_TRACE and value[36:52] != _NO_SPAN
    return isinstance(value, str) and len(value) <= _MOST and _TRACEPARENT.fullmatch(value) is not None


def is_unsampled(value: object) -> bool:
    """Whether a ``traceparent`` says that its trace is not recorded; told by its length and its flag alone.

    A text of that form that is not valid passes for a trace that is not recorded: nothing is lost by it.
    """
    return type(value) is str and value[52:] in NOT_SAMPLED


def trace_of(message: Message) -> str | None:
    """The id of the trace that a message belongs to (32 hexadecimal digits); None: it names none."""
    found = traceparent_of(message.headers.get(TRACEPARENT))
    return None if found is None else found.trace_id


def fit_tracestate(value: object) -> str | None:
    """A ``tracestate`` of at most ``MAX_TRACESTATE`` characters, of whole members; None: it cannot be handed on."""
    if not isinstance(value, str) or _TRACESTATE.fullmatch(value[: 2**16]) is None:
        return None
    if len(value) <= MAX_TRACESTATE:
        return value
    members = [member for each in value[: 2**16].split(",") if len(member := each.strip()) <= _LONG_MEMBER]
    while sum(map(len, members)) + len(members) - 1 > MAX_TRACESTATE:
        members.pop()
    return ",".join(members) or None


def handed_on(headers: Headers) -> dict[str, str]:
    """The headers that continue the trace of a message; none: it is in no trace, or in no valid one."""
    text = headers.get(TRACEPARENT)
    if not _is_valid(text):
        return {}
    if TRACESTATE not in headers or (state := fit_tracestate(headers[TRACESTATE])) is None:
        return {TRACEPARENT: text}
    return {TRACEPARENT: text, TRACESTATE: state}


def hand_on(headers: Headers, messages: Iterable[Message], *, with_baggage: bool = False) -> None:
    """Let messages continue a trace; one whose publisher has given it a ``traceparent`` keeps that."""
    found = handed_on(headers)
    if with_baggage and found and isinstance(baggage := headers.get(BAGGAGE), str) and len(baggage) <= MAX_BAGGAGE:
        found[BAGGAGE] = baggage
    if found:
        stamp(found, messages)


def stamp(found: Mapping[str, str], messages: Iterable[Message]) -> None:
    """Give these headers to the messages that have no trace."""
    for message in messages:
        headers = message.headers
        if TRACEPARENT not in headers:
            headers.pop(TRACESTATE, None)
            headers.update(found)


def current_traceparent() -> str | None:
    """The ``traceparent`` of the trace that runs now; None: there is none."""
    headers = CURRENT.get()
    return None if headers is None else handed_on(headers).get(TRACEPARENT)


def common(headers: Iterable[Headers]) -> Headers | None:
    """The headers of messages that belong to one trace and have one parent; None: they do not."""
    all_of_them = list(headers)
    parents = {each.get(TRACEPARENT) for each in all_of_them}
    return all_of_them[0] if len(parents) == 1 and None not in parents else None
