"""Scheduling: the half of an App that shows its schedules, and publishes the message of one now."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from tasuki.errors import UnsupportedError
from tasuki.message import new_id
from tasuki.queues.result import Confirmed

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.state.pauses import Pause


class ScheduleStatus(NamedTuple):
    """A schedule as it stands; times are in UTC."""

    id: str
    queue: str
    """Id of its queue."""
    timing: str
    """Its cron expression with its time zone, or its interval."""
    next: datetime | None
    """Its next tick; None: it has none, or is off."""
    last: datetime | None
    """The last tick that was published, or passed over by a pause; None: none since a worker first saw it."""
    is_enabled: bool
    pause: Pause | None
    """Why it is paused; None: it is not."""


class Scheduling:
    """Acts for all processes of the app, whether or not they run now."""

    assembly: Assembly | None

    async def schedules(self) -> list[ScheduleStatus]:
        """All schedules of the app, in the order of declaration.

        Raises:
            LifecycleError: the app is not open. DriverError: a store cannot be read.
        """
        from tasuki.app.schedules.statuses import statuses_of

        return await statuses_of(self._live())

    async def run_now(self, schedule: str) -> str:
        """Publish the message of a schedule now, also of one that is paused or off; returns the id of the message.

        Its ticks stay as they are.

        Args:
            schedule: its id, or its name if no other schedule has it.

        Raises:
            ConfigError: there is no such schedule, or several. DriverError, PublishError: as ``publish``.
        """
        from tasuki.app.schedules.statuses import find_schedule, scheduled_in

        live = self._live()
        found = scheduled_in(live, find_schedule(live.project, schedule))
        if (state := live.state_of(found.queue.id)) is None:
            raise UnsupportedError(f"schedule {found.id!r}: its queue has no state", queue=found.queue.id)
        now = await (await state.store()).time()
        envelope = found.envelope(int(now), f"schedule:{found.id}:now:{new_id()}")
        (result,) = await live.queue_of_application(found.queue.id).publish_many([envelope])
        if not isinstance(result, Confirmed):
            raise result.error
        return result.id

    def _live(self) -> Assembly:
        raise NotImplementedError
