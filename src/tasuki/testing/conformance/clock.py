"""ShiftedClock: the clock of a case, which can jump; and whether a history has kept to a rate by one clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

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


class Taken(NamedTuple):
    """Tokens that were granted between two readings of one clock."""

    before: float
    after: float
    tokens: int


def check_windows(taken: Sequence[Taken], rate: float, burst: int) -> None:
    """In no window are more tokens than the burst and what came meanwhile; counts only those taken surely within it."""
    for start in {each.before for each in taken}:
        within = sorted((each.after, each.tokens) for each in taken if each.before >= start)
        for (end, _), total in zip(within, accumulate(tokens for _, tokens in within), strict=True):
            most = burst + rate * (end - start)
            assert total <= most + 0.01, f"{total} tokens in {end - start:.4f} s, {most:.3f} at most"
