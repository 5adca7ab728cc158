"""ScheduleStatus: how one schedule stands."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from tasuki.state.pauses import Pause


class ScheduleStatus(NamedTuple):
    """A schedule as it stands; times are in UTC."""

    id: str
    queue: str
    """Id of its queue."""
    timing: str
    """Its cron expression with its time zone, or its interval."""
    next: datetime | None
    """Its next tick; None: it has none, is off, or is paused without an end."""
    last: datetime | None
    """The last tick that was published, or passed over by a pause; None: none since a worker first saw it."""
    is_enabled: bool
    pause: Pause | None
    """Why it is paused; None: it is not."""
    is_known: bool
    """Whether a worker has seen it with its timing: only then its ticks count."""
    is_late: bool
    """Whether a tick is not published 15 seconds after it: no worker runs, or the queue takes nothing."""
    timezone: str = "UTC"
    """The time zone in which its expression is read, and in which people expect its times."""
