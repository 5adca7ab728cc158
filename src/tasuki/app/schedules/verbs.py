"""Scheduling: the half of an App that shows its schedules, and publishes the message of one now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.lifecycle.additions import Additions
    from tasuki.app.schedules.status import ScheduleStatus


class Scheduling:
    """Acts for all processes of the app, whether or not they run now."""

    additions: Additions
    assembly: Assembly | None

    async def schedules(self) -> list[ScheduleStatus]:
        """All schedules of the app, in the order of declaration.

        Raises:
            LifecycleError: the app is not open. DriverError: a store cannot be read.
        """
        from tasuki.app.schedules.statuses import statuses_of

        await self.additions.applied()
        return await statuses_of(self._live())

    async def run_now(self, schedule: str) -> str:
        """Publish the message of a schedule now, also of one that is paused or off; returns the id of the message.

        Its ticks stay as they are.

        Args:
            schedule: its id, or its name if no other schedule has it.

        Raises:
            ConfigError: there is no such schedule, or several. DriverError, PublishError: as ``publish``.
        """
        from tasuki.app.schedules.statuses import find_schedule, publish_now

        await self.additions.applied()
        live = self._live()
        return await publish_now(live, find_schedule(live.project, schedule), live.rights.application)

    def _live(self) -> Assembly:
        raise NotImplementedError
