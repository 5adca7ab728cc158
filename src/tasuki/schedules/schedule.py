"""A schedule and its ticks: the due time of each, and the id of its message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tasuki.schedules.spread import share
from tasuki.schedules.times.timing import Timing

SCHEDULE = "schedule"
"""Header: the id of the schedule that published a message."""
SCHEDULED_FOR = "scheduled_for"
"""Header: the time of its tick, as ISO 8601 in UTC."""

CatchUp = Literal["skip", "one", "all"]
"""Which ticks of a time without a worker are published; see :mod:`tasuki.schedules.catch_up`."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """An entry that publishes a message at each tick of its timing."""

    id: str
    timing: Timing
    catch_up: CatchUp = "skip"
    jitter: float = 0.0
    """Most seconds by which the message of a tick comes later."""
    lane: str = ""
    """Schedules of one lane wait for each other: the id of their queue."""
    broker: str = ""
    """The driver of its queue: a broker that does not answer holds up no publish to another."""
    salt: str = ""
    """Of the installation, for its jitter."""
    since: int = 0
    """UTC seconds at which it was first seen with this timing: no tick until then is due."""


class Tick(NamedTuple):
    """A moment, in UTC seconds, at which a schedule publishes its message."""

    schedule: Schedule
    at: int

    @property
    def message_id(self) -> str:
        """The same on every worker: a broker that knows ids publishes it once."""
        return f"schedule:{self.schedule.id}:{self.at}"

    @property
    def ready_at(self) -> float:
        """UTC seconds at which the message may be handled: the tick plus its jitter."""
        schedule = self.schedule
        return self.at + (share(schedule.salt, schedule.id, str(self.at)) * schedule.jitter if schedule.jitter else 0.0)
