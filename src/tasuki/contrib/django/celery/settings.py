"""Celery's settings that keep their meaning; their names in Django's settings begin with ``CELERY_``.

``SETTINGS`` lists them; all others have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SETTINGS = (
    "TASK_DEFAULT_QUEUE",
    "TASK_ROUTES",
    "TASK_TIME_LIMIT",
    "TASK_SOFT_TIME_LIMIT",
    "WORKER_CONCURRENCY",
    "BEAT_SCHEDULE",
    "TIMEZONE",
    "TASK_ALWAYS_EAGER",
    "TASK_EAGER_PROPAGATES",
)
"""All that keep their meaning."""


def setting(name: str, default: Any = None) -> Any:
    """One of them, by its name without the prefix."""
    return getattr(settings, f"CELERY_{name}", default)


def queue_of(task: str) -> str:
    """The name of the queue of a task: by ``TASK_ROUTES``, whose names may have ``*``, else the one of all others.

    Raises:
        ImproperlyConfigured: the routes are no dict of queues.
    """
    routes = setting("TASK_ROUTES") or {}
    if not isinstance(routes, Mapping):
        raise ImproperlyConfigured(
            f"CELERY_TASK_ROUTES must be a dict, such as {{'shop.mails.*': {{'queue': 'mails'}}}}, not "
            f"{type(routes).__name__}"
        )
    for pattern, route in routes.items():
        if fnmatchcase(task, pattern):
            queue = route.get("queue") if isinstance(route, Mapping) else route
            if not isinstance(queue, str):
                raise ImproperlyConfigured(
                    f"CELERY_TASK_ROUTES[{pattern!r}] names no queue: write {{'queue': 'mails'}}"
                )
            return queue
    return str(setting("TASK_DEFAULT_QUEUE", "celery"))


def worker_fields() -> dict[str, Any]:
    """The fields of the consumer of each queue."""
    limits = [each for each in (setting("TASK_SOFT_TIME_LIMIT"), setting("TASK_TIME_LIMIT")) if each]
    found = {"concurrency": setting("WORKER_CONCURRENCY"), "handler_timeout": min(limits, default=None)}
    return {name: value for name, value in found.items() if value is not None}


def beat_schedule() -> Mapping[str, Any]:
    """The schedules by name. Raises ImproperlyConfigured: they are no dict."""
    found = setting("BEAT_SCHEDULE", {})
    if not isinstance(found, Mapping):
        raise ImproperlyConfigured(f"CELERY_BEAT_SCHEDULE must be a dict, not {type(found).__name__}")
    return found


def timezone() -> str:
    """By whose clocks cron expressions are read."""
    return str(setting("TIMEZONE") or settings.TIME_ZONE)
