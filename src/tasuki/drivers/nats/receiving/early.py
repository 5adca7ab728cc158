"""Early: delayed messages that the server handed out before their time; they go back, and no receive sees them."""

from __future__ import annotations

from tasuki.clock import Clock
from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.receiving.arrival import Arrival

BATCH = 256
"""Messages that are asked for at once, while they come before their time."""


class Early:
    """Of one queue; a message comes early once, and after that the server keeps its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: list[Arrival] = []
        self.goes_on = False
        """Whether the last delayed message came early, so that the next ones may."""

    def __bool__(self) -> bool:
        return bool(self._arrivals)

    def keeps(self, arrival: Arrival) -> bool:
        """Whether this delayed message came before its time; it is kept here then."""
        self.goes_on = unpack(arrival.data, "")[0].due > self._clock.time()
        if self.goes_on:
            self._arrivals.append(arrival)
        return self.goes_on

    def rest(self) -> list[Arrival]:
        """The messages kept here, which the caller returns to the server."""
        left, self._arrivals = self._arrivals, []
        return left
