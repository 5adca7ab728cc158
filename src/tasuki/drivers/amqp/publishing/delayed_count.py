"""DelayedCount: how many messages are still delayed, in bounded memory; rules without I/O."""

from __future__ import annotations

import math

_ON_THE_WAY = 1.0
"""Seconds that a message may need from its last delay queue to its queue."""
_FINEST = 0.125
"""Seconds of the narrowest slot."""
_SLOTS = 64
"""Slots of one width that the delays with it reach over."""


class DelayedCount:
    """Counts messages by slots of time, wider ones for longer delays: a message counts up to 1/32 of its delay longer.

    So a million messages that are due within a day take some hundred numbers. Times are seconds of one clock.
    """

    def __init__(self) -> None:
        self._due: dict[float, int] = {}
        """How many messages leave the count at each time."""

    def add(self, now: float, delay: float) -> None:
        """Count a message that is delayed now."""
        width = max(2.0 ** math.ceil(math.log2(delay / _SLOTS)), _FINEST)
        due = math.ceil((now + delay + _ON_THE_WAY) / width) * width
        if due in self._due:
            self._due[due] += 1
        else:
            self._forget(now)
            self._due[due] = 1

    def after(self, now: float) -> dict[float, int]:
        """When they end that have not ended by this time, and how many do then; from any thread."""
        return {due: number for due, number in self._due.copy().items() if due >= now}

    def _forget(self, now: float) -> None:
        for due in [due for due in self._due if due < now]:
            del self._due[due]
