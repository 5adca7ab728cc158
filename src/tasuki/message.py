"""Message: id, body and headers, as they travel; and the header names that have a meaning."""

from __future__ import annotations

import itertools
import os
import time

import msgspec

HeaderValue = bool | int | float | str

# Neutral headers: a publisher may set them, every driver carries them (SPEC §3).
TIMESTAMP = "timestamp"
CORRELATION_ID = "correlation_id"
REPLY_TO = "reply_to"
CONTENT_TYPE = "content_type"
PRIORITY = "priority"
PARTITION_KEY = "partition_key"

# Reserved headers: only Tasuki writes them. A publisher that sets one gets a PublishError.
ATTEMPTS = "attempts"
EXPIRES_AT = "x_expires_at"
ORIGINAL_QUEUE = "x_original_queue"
DEAD_LETTER_REASON = "x_dead_letter_reason"
DEAD_LETTER_TIME = "x_dead_letter_time"
LAST_ERROR = "x_last_error"
RESERVED_PREFIX = "x_"


def is_reserved(header: str) -> bool:
    """Whether only Tasuki may write this header."""
    return header == ATTEMPTS or header.startswith(RESERVED_PREFIX)


class Message(msgspec.Struct):
    """What was published: ``id``, ``body`` (encoded bytes) and ``headers`` (text to bool, int, float or text)."""

    id: str
    body: bytes
    headers: dict[str, HeaderValue]


_ids = itertools.count()
_prefix = ""
_prefix_pid = 0


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of Unix milliseconds, a 12-bit counter, and 62 random bits of this process.

    Ids of one process rise within a millisecond, but for the wrap of the counter (RFC 9562 §6.2, method 1). The random
    bits are drawn anew at each wrap and after a fork, so that two processes never share them. Safe in threads.
    """
    global _prefix, _prefix_pid
    number = next(_ids) & 0xFFF
    if number == 0 or _prefix_pid != os.getpid():
        bits = int.from_bytes(os.urandom(8), "big") & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000
        text = f"{bits:016x}"
        _prefix, _prefix_pid = f"{text[:4]}-{text[4:]}", os.getpid()
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{number:03x}-{_prefix}"
