"""Whole seconds, as SQS counts: never early, so rounded up; and which delivery of a message this is."""

from __future__ import annotations

import math

LONGEST_DELAY = 900
"""Seconds that SQS itself can delay a message that is sent."""
LONGEST_HIDDEN = 43_200
"""Seconds from a receive for which SQS can hide a message: leases and delays of a nack."""
_SLACK = 5
"""Seconds below the limit that a request asks for: it counts from the receive, by SQS's clock."""


def whole(seconds: float) -> int:
    """Rounded up."""
    return max(math.ceil(seconds), 0)


def hideable(seconds: float, held_for: float) -> int:
    """For how long a message held for so many seconds can be hidden: as wanted, or as SQS still allows."""
    left = LONGEST_HIDDEN if held_for < 1 else math.floor(LONGEST_HIDDEN - held_for) - _SLACK
    return max(min(whole(seconds), left), 0)


def delivery_number(receives: int, *, sent_at: float, first_at: float, delay: float) -> int:
    """Which delivery of this copy this is, from 1: SQS's own count, without the receives before it was due.

    Each of those hid the message until it was due, or for as long as SQS can; the time of the first one tells how many
    there were.

    Args:
        receives: SQS's count for this copy of the message.
        sent_at: when this copy was sent, Unix time.
        first_at: when it was first received, Unix time.
        delay: seconds from ``sent_at`` until it was due.
    """
    early = 0
    if delay > 0 and first_at < sent_at + delay:
        early = max(math.ceil((sent_at + delay - first_at) / LONGEST_HIDDEN), 1)
    return max(receives - early, 1)
