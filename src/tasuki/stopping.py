"""What the signals to stop mean, one after the other: the first drains, the second cancels."""

from __future__ import annotations

from enum import Enum

SAME_SIGNAL = 0.5
"""Seconds within which the same signal again is one signal: ``timeout``, ``npm`` and ``uv run`` send it twice."""


class Meaning(Enum):
    """What a signal asks for."""

    DRAIN = "drain"
    CANCEL = "cancel"
    NOTHING = "nothing"
    """The same signal again, or a third one."""


class StopSignals:
    """The signals to stop that a process has received, and what each of them means."""

    def __init__(self) -> None:
        self.first: int | None = None
        """Number of the signal that asked to drain."""
        self.second: int | None = None
        """Number of the signal that asked to cancel what still ran."""
        self._heard_at = 0.0

    def hear(self, number: int, now: float) -> Meaning:
        """Decide what this signal means; ``now`` is a monotonic time in seconds."""
        if self.first is None:
            self.first, self._heard_at = number, now
            return Meaning.DRAIN
        if self.second is not None or (number == self.first and now - self._heard_at < SAME_SIGNAL):
            return Meaning.NOTHING
        self.second = number
        return Meaning.CANCEL
