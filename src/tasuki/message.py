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
SIGNATURE = "x_signature"
RESERVED_PREFIX = "x_"


def is_reserved(header: str) -> bool:
    """Whether only Tasuki may write this header."""
    return header == ATTEMPTS or header.startswith(RESERVED_PREFIX)


class Message(msgspec.Struct):
    """What was published: ``id``, ``body`` (encoded bytes) and ``headers`` (text to bool, int, float or text)."""

    id: str
    body: bytes
    headers: dict[str, HeaderValue]


_HEX = [f"{number:03x}" for number in range(4096)]
_ids = itertools.count()
_stamp = (0, "")
_random = ""


def _forget_random() -> None:
    global _random
    _random = ""


os.register_at_fork(after_in_child=_forget_random)


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of Unix milliseconds, a 12-bit counter, and 62 random bits of this process.

    Ids of one process rise within a millisecond, but for the wrap of the counter (RFC 9562 §6.2, method 1). The random
    bits are drawn anew at each wrap and after a fork, so that two processes never share them. Safe in threads.
    """
    global _stamp, _random
    number = next(_ids) & 0xFFF
    random = _random
    if not number or not random:
        bits = int.from_bytes(os.urandom(8), "big") & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000
        _random = random = f"-{bits >> 48:04x}-{bits & 0xFFFFFFFFFFFF:012x}"
    now = time.time_ns() // 1_000_000
    stamp = _stamp
    if stamp[0] != now:  # the text of a millisecond is made once
        _stamp = stamp = (now, f"{now >> 16:08x}-{now & 0xFFFF:04x}-7")
    return stamp[1] + _HEX[number] + random
