"""The only readers of time: code takes a Clock, so that tests can give another."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Three ways to tell the time, in float seconds."""

    def monotonic(self) -> float:
        """Seconds that never jump, meaningful in this process only: for durations and deadlines."""

    def boottime(self) -> float:
        """Seconds since the machine started, suspended time included, shared by its processes: for leases."""

    def time(self) -> float:
        """Unix time; may jump: for dates that people or other machines read."""


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    @staticmethod
    def boottime() -> float:
        """``CLOCK_BOOTTIME`` where there is one (Linux), else the monotonic clock."""
        return time.clock_gettime(_BOOT_CLOCK)
