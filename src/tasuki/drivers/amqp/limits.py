"""Limits and capabilities of the driver; importable without pamqp."""

from tasuki.contracts.driver import Capabilities
from tasuki.drivers.toolkit.results import MAX_PRIORITY

MAX_MESSAGE_BYTES = 16 * 2**20
"""RabbitMQ 4's own default; a larger message would cost the whole channel."""
LARGEST_BODY = 2**29
"""Bytes of the largest body that RabbitMQ can be configured for."""
FRAME_MAX = 2**17
"""Bytes of the largest frame where neither side says another size; RabbitMQ's default."""
LARGEST_FRAME = 2**24
"""Bytes of the largest frame, whatever the broker would send."""
SMALLEST_FRAME = 4096
"""Bytes that the protocol guarantees."""
STEP = 0.1
"""Seconds of the shortest delay queue; the time of each is a whole number of them."""
SECOND = 10
MINUTE = 60 * SECOND

_HOUR, _DAY = 60 * MINUTE, 1440 * MINUTE

TIMES = (
    *range(1, SECOND), *range(SECOND, 2 * SECOND, 2), *range(2 * SECOND, 5 * SECOND, 5),
    *range(5 * SECOND, MINUTE, SECOND),
    *(minutes * MINUTE for minutes in (1, 2, 4, 8, 15, 30)),
    *(hours * _HOUR for hours in (1, 2, 4, 8, 12)),
    *(days * _DAY for days in (1, 2, 4, 8, 15, 16, 32)),
)  # fmt: skip
"""Steps that a message waits at most in each of the delay queues. Up to a minute, each time is at most a second longer
than the one before, and less where the times are short. From a minute on, taking the longest that fits, repeatedly,
makes up every whole minute. The broker takes a time to live of at most 2³² ms, 49 days."""

LONGEST_DELAY = 78 * 86400.0
"""Seconds: the sum of the days, so that a delay that is rounded up fits too."""
CONSUMER_TIMEOUT = 7 * 24 * 3600.0
"""Seconds that a message may be held, by default: far above the time of handlers and buffers. The broker notices a dead
process by its heartbeats, not by this timeout."""

MOST_PARTITIONS = 64
"""Most lanes over which the keys of a queue are spread."""
_PRIORITIES = [f"p{priority}" for priority in range(1, MAX_PRIORITY + 1)]
_PARTITIONS = [f"k{number}" for number in range(MOST_PARTITIONS)]
_PARTS = dict.fromkeys(["returned", "active", *_PRIORITIES, *_PARTITIONS])
"""What follows the name of a queue, and a dot, in the names of its parts at the broker."""
LONGEST_NAME = 194
"""Bytes of a queue's name: the names of its parts are longer, and 255 are the broker's most."""


def whole_of(name: str) -> str | None:
    """The queue that would have a part of this name; None if it is like no part."""
    base, _, end = name.rpartition(".")
    return base if base and end in _PARTS else None


def parts_of(name: str) -> list[str]:
    """The names of all parts that a queue can have."""
    return [f"{name}.{part}" for part in _PARTS]


CAPABILITIES = Capabilities(
    "power",
    frozenset({"ordered", "ordering_key", "native_priority", "declares_priorities", "sees_deaths", "purge"}),
    emulates=frozenset({"ordering_key", "native_delay", "native_priority"}),
    max_batch=1000,
    max_message_bytes=MAX_MESSAGE_BYTES,
    max_delay=LONGEST_DELAY,
)
