"""Limits: what SQS can do: its whole seconds, its attributes, and what it refuses when a queue is declared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqs.names import FIFO
from tasuki.errors import UnsupportedError

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


RETENTION = "MessageRetentionPeriod"
_NAMES = {
    "message_retention_period": RETENTION,
    "default_delay_seconds": "DelaySeconds",
    "default_visibility_timeout": "VisibilityTimeout",
}
"""Option → attribute."""


def asked_for(options: Mapping[str, Any]) -> dict[str, str]:
    """The attributes that the options ask for."""
    return {name: str(whole(options[key])) for key, name in _NAMES.items() if options.get(key) is not None}


def in_force(options: Mapping[str, Any], attributes: Mapping[str, str]) -> dict[str, Any]:
    """The options as they were given, with what SQS says in place of what they ask for."""
    asked = {key: name for key, name in _NAMES.items() if options.get(key) is not None}
    said = {key: float(attributes[name]) for key, name in asked.items() if name in attributes}
    return {**options, **said}


DEDUP_WINDOW = 300.0
"""Seconds for which SQS remembers an id: always, no more and no less."""


def check(spec: QueueSpec, driver: str) -> None:
    """Raise UnsupportedError for what SQS cannot do."""
    problem = ""
    if spec.max_length is not None:
        problem = "max_length: SQS cannot bound a queue"
    elif spec.lease > LONGEST_HIDDEN:
        problem = "lease: SQS hides a message for 12 hours at most"
    elif spec.dedup_window is not None and spec.dedup_window != DEDUP_WINDOW:
        # A longer memory than asked for would swallow messages that the application wants, a shorter one is no memory.
        problem = f"dedup_window {spec.dedup_window:g} s: SQS remembers ids for 5 minutes, no more and no less; use 5m"
    if problem:
        raise UnsupportedError(f"queue {spec.name!r}: {problem}", driver=driver, queue=spec.name)


def is_first_in_first_out(spec: QueueSpec) -> bool:
    """Whether a queue has to be a FIFO queue: for order per key, for ids that are remembered, or by its name."""
    return spec.ordering == "key" or spec.dedup_window is not None or spec.name.endswith(FIFO)
