"""Message: id, body and headers, as they travel; and the header names that have a meaning."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Mapping

import msgspec

HeaderValue = bool | int | float | str

# Neutral headers: a publisher may set them, every driver carries them (SPEC §3).
TIMESTAMP = "timestamp"
CORRELATION_ID = "correlation_id"
REPLY_TO = "reply_to"
CONTENT_TYPE = "content_type"
MESSAGE_TYPE = "message_type"
PRIORITY = "priority"
PARTITION_KEY = "partition_key"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"

# Reserved headers: only Tasuki writes them. A publisher that sets one gets a PublishError.
ATTEMPTS = "attempts"
EXPIRES_AT = "x_expires_at"
DUE = "x_due"
ORIGINAL_QUEUE = "x_original_queue"
DEAD_LETTER_REASON = "x_dead_letter_reason"
DEAD_LETTER_TIME = "x_dead_letter_time"
LAST_ERROR = "x_last_error"
LAST_TRACEBACK = "x_last_traceback"
LAST_ERROR_TIME = "x_last_error_time"
CAUSE = "x_cause"
ERROR_TYPE = "x_error_type"
PLACE = "x_place"
CONSUMER = "x_consumer"
ATTEMPT_RECORDS = "x_attempts"
LEFT_OUT = "x_left_out"
REDRIVEN = "x_redriven"
FAILURES = "x_failures"
SIGNATURE = "x_signature"
GROUP = "x_group"
TRACE = "x_trace"
RULES = "x_rules"
EDITED_BY = "x_edited_by"
EDITED_FROM = "x_edited_from"
BATCH = "x_batch"
MOVED_FROM = "x_moved_from"
RESERVED_PREFIX = "x_"


_CAUSE = re.compile(r"[0-9a-f]{12}")


def is_cause(text: object) -> bool:
    """Whether it can be the fingerprint of why a message died."""
    return isinstance(text, str) and _CAUSE.fullmatch(text) is not None


def cause_in(headers: Mapping[str, HeaderValue]) -> str:
    """The fingerprint of why a message died, as Tasuki writes it; empty: it has none."""
    cause = headers.get(CAUSE, "")
    return str(cause) if is_cause(cause) else ""


def is_reserved(header: str) -> bool:
    """Whether only Tasuki may write this header."""
    return header == ATTEMPTS or header.startswith(RESERVED_PREFIX)


class Message(msgspec.Struct):
    """A message as published: ``id``, ``body`` (encoded bytes) and ``headers`` (text to bool, int, float or text)."""

    id: str
    body: bytes
    headers: dict[str, HeaderValue]


def is_request(message: Message | None) -> bool:
    """Whether a requester waits for the result of its handler; never for a dead letter: its requester has the error."""
    return message is not None and REPLY_TO in message.headers and DEAD_LETTER_REASON not in message.headers


NOTED = frozenset({EXPIRES_AT, REPLY_TO, GROUP, TRACEPARENT, RULES})
"""A message without any of these headers does not expire, needs no answer, is in no trace and has no own rules."""


def is_member(message: Message) -> bool:
    """Whether another message may follow this one, which must learn how it ends; never for a dead letter: it knows."""
    return GROUP in message.headers and DEAD_LETTER_REASON not in message.headers


def wants_answer(message: Message) -> bool:
    """Whether the result of its handler goes to a requester, or to what follows the message."""
    return is_request(message) or is_member(message)


_HEX = [f"{number:03x}" for number in range(4096)]
_ids = itertools.count()
_stamp = (0, "")
_tail = (-1, "")
_base = int.from_bytes(os.urandom(8), "big")


def _reseed() -> None:
    """In a forked child: its ids must differ from the parent's."""
    global _base, _tail
    _base, _tail = int.from_bytes(os.urandom(8), "big"), (-1, "")


os.register_at_fork(after_in_child=_reseed)


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of Unix milliseconds, a 12-bit counter, and 62 bits that start at random.

    Ids of one process rise within a millisecond, but for the wrap of the counter (RFC 9562 §6.2, method 1). At each
    wrap the 62 bits move on, from a random start of the process, which changes after a fork. Safe in threads: an id
    depends on its own count alone, whichever thread is interrupted where.
    """
    global _stamp, _tail
    count = next(_ids)
    tail = _tail
    if tail[0] != count >> 12:
        bits = _base + (count >> 12) * 0x9E3779B97F4A7C15 & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000
        _tail = tail = (count >> 12, f"-{bits >> 48:04x}-{bits & 0xFFFFFFFFFFFF:012x}")
    now = time.time_ns() // 1_000_000
    stamp = _stamp
    if stamp[0] != now:  # the text of a millisecond is made once
        _stamp = stamp = (now, f"{now >> 16:08x}-{now & 0xFFFF:04x}-7")
    return stamp[1] + _HEX[count & 0xFFF] + tail[1]
