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
from tasuki.contrib.django.celery.calls.running import EXPIRES
from tasuki.contrib.django.celery.queue import shared_queue
from tasuki.contrib.django.celery.settings import beat_schedule, timezone
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.registry.references import did_you_mean
from tasuki.system.caller import declared_at

if TYPE_CHECKING:
    from tasuki.contrib.django.celery.calls.signature import Called

Field = str | int | Iterable[str | int]

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
    return str(field) if isinstance(field, str | int) else ",".join(map(str, field))


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
    """Declare one. Raises ImproperlyConfigured: its time is none."""
    timing, task = periodic.schedule, periodic.task
    if isinstance(timing, bool) or not isinstance(timing, str | int | float | timedelta):
        raise ImproperlyConfigured(
            f"the schedule {name!r} has the time {timing!r}; write crontab(…) of tasuki.contrib.django.celery, "
            "a number of seconds or a timedelta"
        )
    headers = dict(periodic.options.get("headers") or {})
    if (expires := periodic.options.get("expires")) is not None:
        headers[EXPIRES] = float(expires)
    when = {"cron": timing, "timezone": timezone()} if isinstance(timing, str) else {"every": timing}
    body = task.own.message(*periodic.args, **periodic.kwargs).body
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    app.schedule(
        f"{slug}.schedule", shared_queue(task.queue), task=task.name, body=body, headers=headers, **when
    )  # fmt: skip


def _declare(app: App, name: str, fields: Mapping[str, Any]) -> None:
    from tasuki.contrib.django.celery.task import tasks

    task = tasks.get(str(fields.get("task")))
    if task is None:
        hint = (
            did_you_mean(str(fields.get("task")), list(tasks))
            or "import the module that has it in a tasks.py of an installed app"
        )
        raise ImproperlyConfigured(f"CELERY_BEAT_SCHEDULE[{name!r}] names the task {fields.get('task')!r}; {hint}")
    args, kwargs, options = (fields.get(each) for each in ("args", "kwargs", "options"))
    declare_schedule(app, name, Periodic(fields.get("schedule"), task, args or (), kwargs or {}, options or {}))
