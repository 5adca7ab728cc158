"""Rates: how often one client may do something."""

from __future__ import annotations

from collections import OrderedDict

from tasuki.clock import Clock

_MOST_CLIENTS = 1000


class Rate:
    """A bucket of ``burst`` tokens for each client, which gains ``rate`` a second; the longest unseen are forgotten."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one: 0, or, where there is none, the seconds until there is one."""
        left, now = self._left(client), self._clock.monotonic()
        is_taken = left >= 1
        self._buckets[client] = (left - is_taken, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_taken else (1 - left) / self._rate

    def _left(self, client: str) -> float:
        left, at = self._buckets.get(client, (float(self._burst), self._clock.monotonic()))
        return min(left + (self._clock.monotonic() - at) * self._rate, self._burst)
