"""Declare schedules in code, list them, and publish the message of one now."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tasuki.app.declare import name_of
from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.tasks.task import Task

if TYPE_CHECKING:
    from typing import TypedDict

    from tasuki.app.app import App
    from tasuki.message import HeaderValue
    from tasuki.units import Duration

    class ScheduleOptions(TypedDict, total=False):
        """Options of a schedule above a function."""

        name: str
        args: Mapping[str, Any]
        headers: dict[str, HeaderValue]
        catch_up: Literal["skip", "one", "all"]
        overlap: Literal["allow", "skip"]
        jitter: Duration
        enabled: bool

    from typing import Unpack

    from tasuki.app.schedules.statuses import ScheduleStatus
    from tasuki.app.typed.entries import ScheduleFields


F = TypeVar("F", bound=Callable[..., object])


QUEUE = "schedules"
"""The queue of functions that the app schedules itself, and not one of its queues."""


class ScheduleDecorator:
    """Declares the schedule of a function; a function that is no task of the queue becomes one."""

    def __init__(
        self, app: App, queue: str | QueueHandle[Any], timing: Mapping[str, Any], options: ScheduleOptions
    ) -> None:
        self._app = app
        self._queue = queue
        self._timing = timing
        self._options = dict(options)

    def __call__(self, function: F, /) -> F:
        """Declare it; the function, or the task, stays as it is.

        Raises:
            TypeError: it is no function. InvalidEntryError: the queue has a task of its name already.
        """
        if isinstance(function, Task):
            queue, task = function.queue, function.name
        elif callable(function):
            queue, task = id_of(self._queue), self._app._runtime.source.tasks.add(id_of(self._queue), function, {})
        else:
            raise TypeError(f"a schedule stands above a function, not above {function!r}")
        fields = {**self._timing, **self._options, "queue": queue, "task": task}
        name = fields.pop("name", None) or f"{task if isinstance(function, Task) else name_of(function)}.schedule"
        if "args" in fields:
            fields["body"] = dict(fields.pop("args"))
        self._app.entry(name, "queue.schedule", fields)
        return function


def refuse_function(name: str, example: str, timing: object) -> None:
    """Raise TypeError for a decorator that is written without its time."""
    if callable(timing):
        raise TypeError(f"{name} needs a time, and stands above the function: write @….{name}({example})")


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
