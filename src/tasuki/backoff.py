"""Delay before attempt n: grows by a factor, is capped, and is jittered so that many retries do not meet."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """``initial_delay · backoff_factor^(n-1)``, at most ``max_delay``, ± ``jitter`` of it; delays in seconds."""

    initial_delay: float = 1.0
    max_delay: float = 90.0
    backoff_factor: float = 2.0
    jitter: float = 0.1

    def delay(self, failures: int, random_: random.Random | None = None) -> float:
        """Seconds to wait after the given number of failures in a row (1 or more); never above ``max_delay``."""
        try:
            base = self.initial_delay * self.backoff_factor ** (max(failures, 1) - 1)
        except OverflowError:
            base = self.max_delay
        base = min(base, self.max_delay)
        spread = self.jitter * (2 * (random_ or random).random() - 1) if self.jitter else 0.0
        return min(base * (1 + spread), self.max_delay)
