"""How much and how long: bounds of the driver that need no client to be told."""

import re

MAX_MESSAGE_BYTES = 16 * 2**20
"""RabbitMQ 4's own default; a larger message would cost the whole channel."""
STEP = 0.1
"""Seconds of the lowest rung of the delay ladder; a delay is rounded up to a whole number of them."""
RUNGS = 26
"""The broker takes a time to live of at most 2³² ms, so the highest rung is 2²⁵ steps: 38 days."""
LONGEST_DELAY = (2**RUNGS - 8) * STEP
"""Seconds: 77 days."""
PART = re.compile(r"\.(returned|consumers|active|p[1-9]|k[0-9]+)")
"""What follows the name of a queue in the names of its parts at the broker."""
LONGEST_NAME = 255 - 2 * RUNGS - len(".returned")
"""Bytes of a queue's name: on the ladder its routing key has a word for each rung before it."""


def whole_of(name: str) -> str | None:
    """The queue that would have a part of this name; None if it is like no part."""
    base, _, end = name.rpartition(".")
    return base if base and PART.fullmatch(f".{end}") else None
