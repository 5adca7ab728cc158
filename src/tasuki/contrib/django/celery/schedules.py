"""Schedules of shared tasks, from the setting ``CELERY_BEAT_SCHEDULE``."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from tasuki import App
from tasuki.contrib.django.celery.options import refuse_options_of_schedule, seconds, shared_queue
from tasuki.contrib.django.celery.running import EXPIRES
from tasuki.contrib.django.celery.settings import beat_schedule, timezone
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.ids import name_for
from tasuki.registry.entry import did_you_mean
from tasuki.system.caller import declared_at

if TYPE_CHECKING:
    from tasuki.contrib.django.celery.signature import Called

Field = str | int | Iterable[str | int]
_LONG = re.compile(r"\b(mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec)[a-z]+", re.IGNORECASE)
"""Days and months that are written out, as Celery allows it."""
_FIELDS = ("task", "schedule", "args", "kwargs", "options")
"""Of an item of the setting."""

_lock = threading.Lock()
_declared: weakref.WeakSet[App] = weakref.WeakSet()


def crontab(
    minute: Field = "*",
    hour: Field = "*",
    day_of_week: Field = "*",
    day_of_month: Field = "*",
    month_of_year: Field = "*",
) -> str:
    """The cron expression of Celery's fields; a field is a text, a number, or some of them.

    Raises:
        ValueError: it names days of the month and of the week: Celery runs it on days that are both, cron on days that
            are one of them.
    """
    if not any(_text(day).startswith("*") for day in (day_of_week, day_of_month)):
        raise ValueError(
            f"crontab(day_of_week={day_of_week!r}, day_of_month={day_of_month!r}): cron runs it on days that are one "
            "of the two, Celery on days that are both; give one of them (day_of_week='1#1' is the first Monday), and "
            "test for the other in the task"
        )
    return " ".join(map(_text, (minute, hour, day_of_month, month_of_year, day_of_week)))


def _text(field: Field) -> str:
    text = str(field) if isinstance(field, str | int) else ",".join(map(str, field))
    return _LONG.sub(r"\1", text)


class Periodic(NamedTuple):
    """A task with a time: a cron expression, seconds, or a timedelta."""

    schedule: Any
    task: Called
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]


def declare_schedules() -> None:
    """Declare the schedules of the setting. Idempotent.

    Raises:
        ImproperlyConfigured: a mistake in one of them.
    """
    schedules, app = beat_schedule(), project_app()
    with _lock, declared_at(settings_place()):
        if app in _declared or not schedules:
            return
        for name, fields in schedules.items():
            _declare(app, name, fields)
        _declared.add(app)


def declare_schedule(app: App, name: str, periodic: Periodic) -> None:
    """Declare one. Raises ImproperlyConfigured: its time is none; TypeError: an option that it cannot have."""
    timing, task = periodic.schedule, periodic.task
    if isinstance(timing, bool) or not isinstance(timing, str | int | float | timedelta):
        raise ImproperlyConfigured(
            f"the schedule {name!r} has the time {timing!r}; write crontab(…) of tasuki.contrib.django.celery, "
            "a number of seconds or a timedelta"
        )
    options = {"expires": task.defaults.get("expires"), **periodic.options}
    headers = dict(options.pop("headers", None) or {})
    if (expires := seconds(options.pop("expires"))) is not None:
        headers[EXPIRES] = expires
    refuse_options_of_schedule(task.name, task.queue, options)
    when = {"cron": timing, "timezone": timezone()} if isinstance(timing, str) else {"every": timing}
    body = task.own.message(*periodic.args, **periodic.kwargs).body
    id = f"{name_for(name)}.schedule"
    app.schedules.add(id, shared_queue(task.queue), task=task.name, body=body, headers=headers, **when)


def _declare(app: App, name: str, fields: Mapping[str, Any]) -> None:
    from tasuki.contrib.django.celery.task import tasks

    task = tasks.get(str(fields.get("task")))
    if task is None:
        hint = (
            did_you_mean(str(fields.get("task")), list(tasks))
            or "import the module that has it in a tasks.py of an installed app"
        )
        raise ImproperlyConfigured(f"CELERY_BEAT_SCHEDULE[{name!r}] names the task {fields.get('task')!r}; {hint}")
    for field in fields:
        if field not in _FIELDS:
            hint = did_you_mean(field, _FIELDS) or f"there are: {', '.join(_FIELDS)}"
            raise ImproperlyConfigured(f"CELERY_BEAT_SCHEDULE[{name!r}] has no field {field!r}; {hint}")
    args, kwargs, options = (fields.get(each) for each in ("args", "kwargs", "options"))
    declare_schedule(app, name, Periodic(fields.get("schedule"), task, args or (), kwargs or {}, options or {}))
