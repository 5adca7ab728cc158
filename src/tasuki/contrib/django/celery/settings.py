"""Celery's settings that keep their meaning; their names in Django's settings begin with ``CELERY_``.

``TASK_DEFAULT_QUEUE`` · ``TASK_TIME_LIMIT`` · ``WORKER_CONCURRENCY`` · ``BEAT_SCHEDULE`` · ``TIMEZONE`` ·
``TASK_ALWAYS_EAGER`` · ``TASK_EAGER_PROPAGATES``. All others have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def setting(name: str, default: Any = None) -> Any:
    """One of them, by its name without the prefix."""
    return getattr(settings, f"CELERY_{name}", default)


def queue_name() -> str:
    """The name of the queue of all shared tasks."""
    return str(setting("TASK_DEFAULT_QUEUE", "celery"))


def worker_fields() -> dict[str, Any]:
    """The fields of their consumer."""
    found = {"concurrency": setting("WORKER_CONCURRENCY"), "handler_timeout": setting("TASK_TIME_LIMIT")}
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
