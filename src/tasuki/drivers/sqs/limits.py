"""Limits of SQS: names, whole seconds, attributes, and what it refuses when a queue is declared."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

from tasuki.contracts.driver import QueueSpec
from tasuki.errors import UnsupportedError

FIFO = ".fifo"
LONGEST_NAME = 80
LONGEST_TOKEN = 128

_OTHER = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,128}", re.ASCII)
_MARK = 8


def broker_name(queue: str, *, is_fifo: bool) -> str:
    """The name at SQS: letters, digits, ``-`` and ``_``, at most 80, and ``.fifo`` at the end of FIFO queues.

    A name that has to be changed gets a part of its hash, so that two queues never share one.
    """
    plain = queue.removesuffix(FIFO)
    room = LONGEST_NAME - (len(FIFO) if is_fifo else 0)
    name = _OTHER.sub("-", plain)
    if name != plain or not 0 < len(name) <= room:
        mark = hashlib.sha256(plain.encode()).hexdigest()[:_MARK]
        name = f"{name[: room - _MARK - 1]}-{mark}"
    return name + FIFO if is_fifo else name


def own_group(id: str) -> str:
    """The group of a message without a key: it is alone there."""
    return token(f"id:{id}")


def is_bound_to(is_fifo: bool, key: str | None, group: str | None) -> bool:
    """Whether a message has a place to lose in its group: in a FIFO queue, unless it is alone there."""
    return is_fifo and (key is not None or group is None or not group.startswith("id:"))


def suspects_name(url: str) -> str:
    """The name of the queue for the suspects of the queue at this address; no queue of an application has it."""
    name = url.rpartition("/")[2].removesuffix(FIFO)
    mark = hashlib.sha256(f"suspects of {url.rpartition('/')[2]}".encode()).hexdigest()[:_MARK]
    return f"{name[: LONGEST_NAME - _MARK - 10]}-suspects-{mark}"


def token(text: str) -> str:
    """A text as group or deduplication id: itself where SQS takes it, else its hash."""
    if _TOKEN.fullmatch(text):
        return text
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


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
    """For how long a message held for this many seconds can be hidden: as wanted, or as SQS still allows."""
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
