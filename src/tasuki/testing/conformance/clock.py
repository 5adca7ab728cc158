"""ShiftedClock: the clock of a case, which can jump."""

from __future__ import annotations

import time

from tasuki.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clocks, moved ahead by ``advance``: time goes on by itself, and can be made to pass at once."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic() + self._ahead

    def time(self) -> float:
        """See Clock."""
        return time.time() + self._ahead

    def boottime(self) -> float:  # type: ignore[override]
        """See Clock."""
        return SystemClock.boottime() + self._ahead
