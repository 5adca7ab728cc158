"""TwinSchedules: fires the schedules of a twin in its virtual time."""

from __future__ import annotations

from tasuki.app.assembly import Assembly
from tasuki.app.schedules.scheduler import identified
from tasuki.schedules.wheel import Wheel
from tasuki.state.pauses import pause_in
from tasuki.testing.clock import FakeClock


class TwinSchedules:
    """Of an assembly, from the moment when the test enters its block."""

    def __init__(self, assembly: Assembly, clock: FakeClock) -> None:
        self._clock = clock
        self._mark = int(clock.time())
        self._wheels = [
            (scheduler, Wheel(identified(scheduler.schedules).values())) for scheduler in assembly.schedulers.values()
        ]

    def next_at(self) -> float | None:
        """Monotonic time of the next tick; None: there is none."""
        found = [at for _, wheel in self._wheels if (at := wheel.next_at(self._mark)) is not None]
        return self._clock.monotonic() + min(found) - self._clock.time() if found else None

    async def fire(self) -> None:
        """Publish the messages of all ticks until now, each in its time, but not of paused schedules."""
        now = int(self._clock.time())
        for scheduler, wheel in self._wheels:
            if (at := wheel.next_at(self._mark)) is None or at > now:
                continue
            controls = await scheduler.state.follow()
            ticks = wheel.due(self._mark, now)
            await scheduler.publish(
                [tick for tick in ticks if pause_in(controls, "schedule", tick.schedule.id) is None]
            )
        self._mark = now
