"""``app.schedules``: declare schedules, list them, and publish the message of one now."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from tasuki.app.handle import QueueHandle, id_of

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.schedules.status import ScheduleStatus
    from tasuki.app.typed.entries import ScheduleFields


class AppSchedules:
    """Acts for all processes of the app, whether or not they run now."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._runtime = app._runtime

    def add(self, name: str, queue: str | QueueHandle[Any], **fields: Unpack[ScheduleFields]) -> str:
        """Declare a ``queue.schedule``: a message for a queue at each tick. Returns its id.

        Args:
            name: of the entry.
            queue: by name, id or handle.
            fields: the fields of ``queue.schedule``: cron or every, timezone, body, headers, task, catch_up, overlap,
                jitter, enabled.
        """
        if self._app.timezone is not None and "cron" in fields:
            fields.setdefault("timezone", self._app.timezone)
        return self._app.entry(name, "queue.schedule", {**fields, "queue": id_of(queue)})

    async def list(self) -> builtins.list[ScheduleStatus]:
        """All schedules of the app, in the order of declaration.

        Raises:
            LifecycleError: the app is not open. DriverError: a store cannot be read.
        """
        from tasuki.app.schedules.statuses import statuses_of

        await self._runtime.additions.applied()
        return await statuses_of(self._runtime.live())

    async def run_now(self, schedule: str) -> str:
        """Publish the message of a schedule now, also of one that is paused or off; returns the id of the message.

        Its ticks stay as they are.

        Args:
            schedule: its id, or its name if no other schedule has it.

        Raises:
            ConfigError: there is no such schedule, or several. DriverError, PublishError: as ``publish``.
        """
        from tasuki.app.schedules.statuses import find_schedule, publish_now

        await self._runtime.additions.applied()
        live = self._runtime.live()
        return await publish_now(live, find_schedule(live.project, schedule), live.rights.application)
