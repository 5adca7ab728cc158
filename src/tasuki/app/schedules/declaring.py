"""Declare schedules in code: decorators of functions, and single entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from tasuki.app.declare import name_of
from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.tasks.task import Task

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    from tasuki.app.declaring import Declaring
    from tasuki.app.typed.entries import ScheduleFields
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


F = TypeVar("F", bound=Callable[..., object])

QUEUE = "schedules"
"""The queue of functions that the app schedules itself, and not one of its queues."""


class ScheduleDecorator:
    """Declares the schedule of a function; a function that is no task of the queue becomes one."""

    def __init__(
        self, app: Declaring, queue: str | QueueHandle[Any], timing: Mapping[str, Any], options: ScheduleOptions
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
            queue, task = id_of(self._queue), self._app.declare_task(id_of(self._queue), function, {})
        else:
            raise TypeError(f"a schedule stands above a function, not above {function!r}")
        fields = {**self._timing, **self._options, "queue": queue, "task": task}
        name = fields.pop("name", None) or f"{task if isinstance(function, Task) else name_of(function)}.schedule"
        if "args" in fields:
            fields["body"] = dict(fields.pop("args"))
        self._app.entry(name, "queue.schedule", fields)
        return function


class DeclaringSchedules:
    """The part of an App that declares schedules."""

    timezone: str | None = None
    """The time zone of the cron expressions that are declared in code without one; None: UTC."""

    def every(
        self,
        interval: Duration,
        /,
        *,
        queue: str | QueueHandle[Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleDecorator:
        """Run the decorated function, or task, at each interval: on one worker, whichever is free.

        Args:
            interval: whole seconds, text (``30s``) or a ``timedelta``, counted from 1970-01-01 00:00 UTC.
            queue: whose worker runs it; default the queue ``schedules`` of the app, which is declared with it.
            options: ``args``: the function's arguments by name; ``name``: of the entry, default the function's with
                ``.schedule``; and the fields of ``queue.schedule``: headers, catch_up, overlap, jitter, enabled.
        """
        _refuse_function("every", "'30s'", interval)
        return ScheduleDecorator(_app(self), _queue(_app(self), queue), {"every": interval}, options)

    def cron(
        self,
        expression: str,
        /,
        *,
        tz: str | None = None,
        queue: str | QueueHandle[Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleDecorator:
        """Run the decorated function, or task, at each time of a cron expression: ``@app.cron("0 9 * * mon-fri")``.

        Args:
            expression: five fields, or ``@daily`` and the like.
            tz: the time zone by whose clocks it is read, such as ``Asia/Tokyo``; default ``timezone`` of the app: UTC,
                and in a Django project its ``TIME_ZONE``.
            queue: as for ``every``.
            options: as for ``every``.
        """
        _refuse_function("cron", "'0 9 * * *'", expression)
        timing = {"cron": expression, **zone_of(_app(self), tz)}
        return ScheduleDecorator(_app(self), _queue(_app(self), queue), timing, options)

    def schedule(self, name: str, queue: str | QueueHandle[Any], **fields: Unpack[ScheduleFields]) -> str:
        """Declare a ``queue.schedule``: a message for a queue at each tick. Returns its id.

        Args:
            name: of the entry.
            queue: by name, id or handle.
            fields: the fields of ``queue.schedule``: cron or every, timezone, body, headers, task, catch_up, overlap,
                jitter, enabled.
        """
        zone = zone_of(_app(self), None) if "cron" in fields and "timezone" not in fields else {}
        return _app(self).entry(name, "queue.schedule", {**fields, **zone, "queue": id_of(queue)})


def zone_of(app: DeclaringSchedules, given: str | None) -> dict[str, Any]:
    """The field ``timezone`` of a cron expression; none where it is UTC by default."""
    zone = given or app.timezone
    return {} if zone is None else {"timezone": zone}


def _refuse_function(name: str, example: str, timing: object) -> None:
    if callable(timing):
        raise TypeError(f"{name} needs a time, and stands above the function: write @….{name}({example})")


def _app(part: DeclaringSchedules) -> Declaring:
    return cast("Declaring", part)


def _queue(app: Declaring, queue: str | QueueHandle[Any] | None) -> str | QueueHandle[Any]:
    return app.queue(QUEUE) if queue is None else queue
