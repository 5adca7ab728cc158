"""Schedules of shared tasks, from the setting ``CELERY_BEAT_SCHEDULE``."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from tasuki import App
from tasuki.contrib.django.celery.queue import shared_queue
from tasuki.contrib.django.celery.running import EXPIRES
from tasuki.contrib.django.celery.settings import beat_schedule, timezone
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.registry.references import did_you_mean
from tasuki.system.caller import declared_at

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
    """The cron expression of Celery's fields; a field is a text, a number, or some of them."""
    return " ".join(map(_text, (minute, hour, day_of_month, month_of_year, day_of_week)))


def _text(field: Field) -> str:
    return str(field) if isinstance(field, str | int) else ",".join(map(str, field))


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


def _declare(app: App, name: str, fields: Mapping[str, Any]) -> None:
    from tasuki.contrib.django.celery.task import tasks

    task = tasks.get(str(fields.get("task")))
    if task is None:
        hint = (
            did_you_mean(str(fields.get("task")), list(tasks))
            or "import the module that has it in a tasks.py of an installed app"
        )
        raise ImproperlyConfigured(f"CELERY_BEAT_SCHEDULE[{name!r}] names the task {fields.get('task')!r}; {hint}")
    options: Mapping[str, Any] = fields.get("options") or {}
    headers = dict(options.get("headers") or {})
    if (expires := options.get("expires")) is not None:
        headers[EXPIRES] = float(expires)
    timing = fields.get("schedule")
    when = {"cron": timing, "timezone": timezone()} if isinstance(timing, str) else {"every": timing}
    body = task.own.message(*fields.get("args") or (), **fields.get("kwargs") or {}).body
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    app.schedule(f"{slug}.schedule", shared_queue(), task=task.name, body=body, headers=headers, **when)
