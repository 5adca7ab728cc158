"""Pauses and scales: orders for queues, consumers and schedules; no I/O.

Their keys are keys of Controls. A queue has its name at the broker in its key, so that all apps on one queue agree.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tasuki.moments import Moment
from tasuki.observe.plain import escape
from tasuki.state.controls import Controls

Pausable = Literal["queue", "consumer", "schedule"]
"""What can be paused."""

PAUSE = "pause/"
SCALE = "scale/"
_YEAR_9999 = 253370764800.0
MOST_TEXT = 500
"""Longest actor and longest reason that are kept, in characters."""


class Pause(msgspec.Struct, frozen=True):
    """A pause: its start, its end, its actor and the reason."""

    at: Moment
    """When it was ordered, in Unix seconds of the store's clock."""
    until: Moment | None = None
    """When it ends by itself, by the same clock; None: never."""
    actor: str = ""
    reason: str = ""

    def __str__(self) -> str:
        parts = [
            f"until {text_of_time(self.until)}" if self.until is not None else "until it is resumed",
            f", by {self.actor}" if self.actor else "",
            f": {self.reason}" if self.reason else "",
        ]
        return escape("".join(parts))

    def encode(self) -> bytes:
        """The value under its key."""
        return msgspec.json.encode(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: ``until`` (or None), ``actor``, ``at`` and ``reason``."""
        return {"until": self.until, "actor": self.actor, "at": self.at, "reason": self.reason}


class Scale(msgspec.Struct, frozen=True):
    """The concurrency of one consumer in each process."""

    concurrency: int
    """0: none, as if the consumer were paused."""
    at: Moment
    """When it was ordered, in Unix seconds of the store's clock."""
    actor: str = ""

    def encode(self) -> bytes:
        """The value under its key."""
        return msgspec.json.encode(self)


def pause_key(kind: Pausable, name: str) -> str:
    """The key of a pause; ``name``: of a queue its name at the broker, else the id of the entry."""
    return f"{PAUSE}{kind}/{name}"


def scale_key(consumer: str) -> str:
    """The key of a consumer's scale."""
    return SCALE + consumer


def read_pause(value: bytes) -> Pause:
    """The pause behind a value. A value that cannot be read is a pause: what it was is unknown, and nothing may run."""
    try:
        return msgspec.json.decode(value, type=Pause)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Pause(0.0, reason="its record in the store cannot be read")


def read_scale(value: bytes) -> Scale | None:
    """The scale behind a value; None: the value cannot be read, and the consumer's own number holds."""
    try:
        return msgspec.json.decode(value, type=Scale)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def pause_in(controls: Controls, kind: Pausable, name: str) -> Pause | None:
    """The pause of this queue, consumer or schedule; None: it is not paused."""
    value = controls.get(pause_key(kind, name))
    return None if value is None else read_pause(value)


def scale_in(controls: Controls, consumer: str) -> Scale | None:
    """The scale of a consumer; None: its own number holds."""
    value = controls.get(scale_key(consumer))
    return None if value is None else read_scale(value)


def pause_of_consumer(controls: Controls, queue: str, consumer: str) -> Pause | None:
    """Why a consumer may not receive: its queue (by the name at the broker) or itself is paused, or scaled to 0."""
    pause = pause_in(controls, "queue", queue) or pause_in(controls, "consumer", consumer)
    if pause is not None:
        return pause
    scale = scale_in(controls, consumer)
    return Pause(scale.at, None, scale.actor, "scaled to 0") if scale is not None and scale.concurrency == 0 else None


def text_of_time(time: float) -> str:
    """Unix seconds as an ISO time in UTC: ``2026-12-24T18:00:00Z``."""
    if not 0 <= time < _YEAR_9999:
        return f"{time:.0f}"
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
