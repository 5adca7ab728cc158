"""A schedule and its ticks: the due time of each, which may be spread, and the id of its message."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple

from tasuki.schedules.times.timing import Timing

RANDOM = "random"
"""In place of a field of a cron expression: one of its values, which stays the same."""

_RANGES = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
"""Of the five fields: days that every month has."""


def is_spread(cron: str) -> bool:
    """Whether a cron expression has a field that is random."""
    return RANDOM in cron.lower().split()


def spread(cron: str, id: str, salt: str) -> str:
    """The expression with a number in each random field.

    Args:
        cron: the expression; its other fields stay as they are.
        id: of the schedule.
        salt: of the installation.
    """
    fields = cron.split()
    if not is_spread(cron) or len(fields) != len(_RANGES):
        return cron  # the parser refuses it
    return " ".join(
        str(first + int(share(salt, id, f"field {place}") * (last - first + 1))) if field.lower() == RANDOM else field
        for place, (field, (first, last)) in enumerate(zip(fields, _RANGES, strict=True))
    )


def share(salt: str, id: str, what: str) -> float:
    """A number from 0 to just below 1, evenly spread; the same for equal arguments on every worker."""
    number = int.from_bytes(blake2b(f"{salt}:{id}:{what}".encode(), digest_size=6).digest())
    return number / 2**48


SCHEDULE = "schedule"
"""Header: the id of the schedule that published a message."""

SCHEDULED_FOR = "scheduled_for"
"""Header: the time of its tick, as ISO 8601 in UTC."""


CatchUp = Literal["skip", "one", "all"]
"""Which ticks of a time without a worker are published; see :mod:`tasuki.schedules.wheel`."""


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
