"""A schedule and its ticks, as far as time matters: when each is due, and the id of its message."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple

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
        return self.at + jitter(self.schedule.id, self.at, self.schedule.jitter)


def jitter(id: str, tick: int, longest: float) -> float:
    """Seconds from 0 to just below ``longest``, evenly spread; the same for one id and tick on every worker."""
    if not longest:
        return 0.0
    number = int.from_bytes(blake2b(f"{id}:{tick}".encode(), digest_size=6).digest())
    return number / 2**48 * longest
