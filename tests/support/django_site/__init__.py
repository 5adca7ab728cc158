"""Django for tests in this process: configured once, with queues in memory; also an installed app, with tasks."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import django
from django.conf import settings

BACKEND = "tasuki.contrib.django.TasukiBackend"
TASKS = {
    "default": {"BACKEND": BACKEND, "QUEUES": ["default", "slow"], "OPTIONS": {"results": "default"}},
    "tried": {"BACKEND": BACKEND, "QUEUES": ["tried"], "OPTIONS": {"max_attempts": 3, "transactional": True}},
    "ranked": {"BACKEND": BACKEND, "QUEUES": ["ranked"], "OPTIONS": {"priority": True, "results": "default"}},
}
_folder = TemporaryDirectory(prefix="tasuki-django-")
"""Removed at the end of the process."""


def set_up() -> None:
    """Configure Django. Idempotent."""
    if settings.configured:
        return
    package = [] if django.VERSION >= (6, 0) else ["django_tasks"]
    settings.configure(
        INSTALLED_APPS=[*package, "tasuki.contrib.django", "tests.support.django_site"],
        # A file: Django closes no connection to a database in memory.
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_folder.name}/site.db"}},
        TASUKI={"URL": "memory://"},
        TASKS=TASKS,
        CELERY_TASK_TIME_LIMIT=60,
        USE_TZ=True,
    )
    django.setup()
