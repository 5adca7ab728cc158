"""Delay after attempt n: grows by a factor, is capped, and is jittered so that many retries do not meet."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasuki.errors import QueueFullError


@dataclass(frozen=True, slots=True)
class Backoff:
    """``initial_delay · backoff_factor^(n-1)``, ± ``jitter`` of it, at most ``max_delay``; delays in seconds.

    The longest delays have the same jitter below the maximum, or all who wait for long would come back at one moment.
    """

    initial_delay: float = 1.0
    max_delay: float = 90.0
    backoff_factor: float = 2.0
    jitter: float = 0.1

    def delay(self, failures: int, random_: random.Random | None = None) -> float:
        """Seconds to wait after the given number of failures in a row (1 or more); never above ``max_delay``."""
        longest = self.max_delay / (1 + self.jitter)
        try:
            base = self.initial_delay * self.backoff_factor ** (max(failures, 1) - 1)
        except OverflowError:
            base = longest
        spread = self.jitter * (2 * (random_ or random).random() - 1) if self.jitter else 0.0
        return min(base, longest) * (1 + spread)


def is_told(failures: int) -> bool:
    """Whether one of many failures in a row is worth a line in the log: the first, the fourth, each twentieth."""
    return failures in (1, 4) or failures % 20 == 0


UNTIL_BACK = Backoff(initial_delay=0.05, max_delay=2.0, jitter=0.5)
"""For any wait for a broker or store that does not answer: two such waits in a row still end within five seconds of
its return, and thousands of workers come back over more than a second."""
UNTIL_ROOM = Backoff(initial_delay=0.05, max_delay=30.0, jitter=0.5)
"""For a write that a queue refuses although its broker answers: a person must act first."""


def pause_after(error: BaseException, failures: int, *, is_final: bool = False) -> float:
    """Seconds to wait before a failed write to a broker or store is tried again; the one rule for all of them.

    ``failures``: in a row, 1 or more. ``is_final``: only a person can heal it, so it is tried less often.
    """
    return (UNTIL_ROOM if is_final or type(error) is QueueFullError else UNTIL_BACK).delay(failures)
