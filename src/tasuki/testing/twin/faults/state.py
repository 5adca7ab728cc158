"""The state of a twin's faults, which its drivers obey."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from tasuki.testing.clock import FakeClock
from tasuki.testing.twin.reading.journal import Journal

if TYPE_CHECKING:
    from tasuki.drivers.memory.queue import MemoryQueue


class FaultyDriver(Protocol):
    """What faults do to a driver; see :class:`tasuki.testing.twin.driver.TwinDriver`."""

    @property
    def queues(self) -> dict[str, MemoryQueue]:
        """The queues by name, as they are now."""

    @property
    def dead(self) -> set[str]:
        """Ids of stored dead letters whose originals are not acked yet."""

    def lose_deliveries(self) -> None:
        """Take back what the worker holds."""

    def wake(self) -> None:
        """Let receivers check again."""


class Faults:
    """Shared by the drivers of one twin, as they are in one process, and behind one network."""

    def __init__(self, clock: FakeClock, journal: Journal) -> None:
        self.clock = clock
        self.journal = journal
        self.drivers: list[FaultyDriver] = []
        self.away_until = 0.0
        """Monotonic time until which the broker is away."""
        self.kills_left: dict[tuple[FaultyDriver, str] | None, int] = {}
        """How many workers still die, by the queue whose message they handle; None: any queue."""
        self.is_killed = False
        """A worker has died, and no other one has taken its place yet."""
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_away(self) -> bool:
        """Whether the broker is away now."""
        return self.clock.monotonic() < self.away_until

    async def until_back(self) -> None:
        """Return when the broker is there."""
        if self.is_away:
            self._waiting.append(back := asyncio.get_running_loop().create_future())
            await back

    def time_has_passed(self) -> None:
        """Wake what waits for a time that has come. Only in the loop that waits."""
        if not self.is_away:
            self._go_on()
            for driver in self.drivers:
                driver.wake()

    def lose_connections(self) -> None:
        """The worker stops while the broker is away: its messages come back when their leases end."""
        for driver in self.drivers:
            driver.lose_deliveries()
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for back in waiting:
            if not back.done():
                back.set_result(None)

    def kills(self, queue: str, driver: FaultyDriver, *, is_handled: bool) -> bool:
        """Whether the worker dies now, before the settlement of a message of that queue; then it has lost all."""
        if self.is_killed or not is_handled:
            return self.is_killed
        for which in ((driver, queue), None):
            if self.kills_left.get(which):
                self.kills_left[which] -= 1
                self.is_killed = True
                for each in self.drivers:  # also of the other queues: it is one process
                    each.lose_deliveries()
                self.journal.tell()
                return True
        return False

    def was_given_up(self, id: str) -> bool:
        """Whether the ack of a message follows its dead letter, on any driver; once for each dead letter."""
        holders = [driver for driver in self.drivers if id in driver.dead]
        for driver in holders:
            driver.dead.discard(id)
        return bool(holders)
