"""Stop signals: the first drains, the second cancels."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

SAME_SIGNAL = 0.5
"""Seconds within which the same signal again is one signal: ``timeout``, ``npm`` and ``uv run`` send it twice."""


class Meaning(Enum):
    """The meaning of a signal."""

    DRAIN = "drain"
    CANCEL = "cancel"
    NOTHING = "nothing"
    """The same signal again, or a third one."""


@dataclass(eq=False, slots=True)
class StopSignals:
    """The stop signals that a process has received, with their meanings."""

    first: int | None = None
    """Number of the signal that asked to drain."""
    first_at: float = 0.0
    """When it came (monotonic)."""
    second: int | None = None
    """Number of the signal that asked to cancel what still ran."""

    def hear(self, number: int, now: float) -> Meaning:
        """Decide what this signal means; ``now`` is a monotonic time in seconds."""
        if self.first is None:
            self.first, self.first_at = number, now
            return Meaning.DRAIN
        if self.second is not None or (number == self.first and now - self.first_at < SAME_SIGNAL):
            return Meaning.NOTHING
        self.second = number
        return Meaning.CANCEL

    def are_unheeded(self, blocked_at: float, now: float, limit: float) -> bool:
        """Whether an event loop that is blocked since then has kept the process from its stop for too long.

        ``limit``: seconds that it has after the first signal; after the second it has none.
        """
        if self.first is None:
            return False
        return self.second is not None or now - max(self.first_at, blocked_at) >= limit


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads, after flushing output and logs."""
    for handler in (*logging.getLogger().handlers, *logging.getLogger("tasuki").handlers):
        handler.flush()
    flush_output()
    os._exit(code)


def flush_output() -> None:
    """Flush the standard streams, as far as there are any and they can be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
