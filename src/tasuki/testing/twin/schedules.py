"""TwinSchedules: fires the schedules of a twin in its virtual time."""

from __future__ import annotations

from tasuki.app.assembly import Assembly
from tasuki.app.schedules.scheduler import SALT, Scheduler, identified
from tasuki.schedules.schedule_group import AGAIN, Lane, lanes_of
from tasuki.state.pauses import pause_in
from tasuki.testing.clock import FakeClock

_SALT = "test"
"""Of every test, so that random times are the same in each run."""


class TwinSchedules:
    """Of an assembly, from the moment when the test enters its block."""

    def __init__(self, assembly: Assembly, clock: FakeClock) -> None:
        self._clock = clock
        start = int(clock.time())
        self._lanes: list[tuple[Scheduler, Lane]] = [
            (scheduler, lane)
            for scheduler in assembly.schedulers.values()
            for lane in lanes_of(identified(scheduler.schedules, _SALT).values(), lambda _: start)
        ]

    async def open(self) -> None:
        """Let the stores say by what the random times are found."""
        for scheduler, _ in self._lanes:
            await (await scheduler.state.store()).put(SALT, _SALT.encode())

    def next_at(self) -> float | None:
        """Monotonic time of the next tick, or of the next attempt; None: there is none."""
        found = [due for _, lane in self._lanes if (due := self._due_in(lane)) is not None]
        time = self._clock.time()
        return self._clock.monotonic() + (time + min(found)) - time if found else None

    async def fire(self) -> bool:
        """Publish the messages of all ticks until now, but not of paused schedules. Returns whether any was due."""
        was_due = False
        for scheduler, lane in self._lanes:
            if (due := self._due_in(lane)) is None or due > 0:
                continue
            was_due = True
            controls = await scheduler.state.follow()
            await lane.publish(
                int(self._clock.time()),
                scheduler.publish,
                lambda id, controls=controls: pause_in(controls, "schedule", id) is not None,  # type: ignore[misc]
                lambda: True,
            )
            lane.again_at = self._clock.monotonic() + AGAIN
        return was_due

    def _due_in(self, lane: Lane) -> float | None:
        return lane.due_in(self._clock.time(), self._clock.monotonic())
