"""Declare schedules in code: decorators of functions, and single entries."""

from __future__ import annotations

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
