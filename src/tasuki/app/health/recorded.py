"""The newest events of a consumer as text, for a log or a terminal."""

from __future__ import annotations

from tasuki.consumers.consumer import Consumer
from tasuki.observe.events import NEWEST, as_lines


def recorded(consumer: Consumer | None, newest: int = NEWEST) -> str:
    """The newest events, under a heading; empty if there are none."""
    events = [] if consumer is None else consumer.recent()[-newest:]
    if consumer is None or not events:
        return ""
    lines = as_lines(events, consumer.clock.monotonic())
    return "\n".join([f"the newest events of {consumer.id}:", *lines, ""])
