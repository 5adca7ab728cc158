"""The newest events of a consumer as text, for a log or a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasuki.consumers.consumer import Consumer
from tasuki.observe.events import NEWEST, as_dicts, as_lines

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime


def recorded(consumer: Consumer | None, newest: int = NEWEST) -> str:
    """The newest events, under a heading; empty if there are none."""
    events = [] if consumer is None else consumer.recent()[-newest:]
    if consumer is None or not events:
        return ""
    lines = as_lines(events, consumer.clock.monotonic())
    return "\n".join([f"the newest events of {consumer.id}:", *lines, ""])


def events_of(runtime: Runtime, newest: int = NEWEST) -> dict[str, list[dict[str, Any]]]:
    """The newest events of each consumer of this process, by its id; from any thread."""
    assembly = runtime.assembly
    consumers = assembly.consumers.items() if assembly else ()
    return {id: as_dicts(consumer.recent()[-newest:], consumer.clock) for id, consumer in consumers}
