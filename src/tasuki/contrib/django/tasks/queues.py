"""The queues and consumers that the backends of the setting TASKS need, declared on the project's App."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from tasuki.contracts.context import Retries
from tasuki.contrib.django.celery.app import import_views
from tasuki.contrib.django.celery.schedules import declare_schedules
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.contrib.django.tasks.backend import NAME
from tasuki.system.caller import declared_at

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.contrib.django.tasks.backend import TasukiBackend

_lock = threading.Lock()
_declared: weakref.WeakKeyDictionary[App, dict[str, TasukiBackend]] = weakref.WeakKeyDictionary()
"""The queues that each App has for tasks of Django already, each with the backend that has declared it."""
_OF_QUEUE = ("max_attempts", "priority", "queues", "workers")
"""The options that shape a queue and its consumer."""


def whole_app() -> App:
    """The project's App with the queues of TASKS and the schedules of the settings, as soon as Django is ready.

    Raises:
        ImproperlyConfigured: as ``project_app``, and for a mistake in TASKS or in a schedule: a worker would miss it.
    """
    app = project_app()
    if apps.ready:
        import_views()
        declare_backends()
        declare_schedules()
    return app


def declare_backends() -> None:
    """Declare the queues of each TasukiBackend in the setting TASKS. Idempotent.

    Raises:
        ImproperlyConfigured: a mistake in one of them.
    """
    for alias, params in getattr(settings, "TASKS", {}).items():
        kind = _backend_of(str(params.get("BACKEND", "")))
        if kind is not None:
            declare_queues(project_app(), kind(alias=alias, params=params))


def _backend_of(path: str) -> type[TasukiBackend] | None:
    """The class behind a dotted path, if it is a TasukiBackend. Django itself reports a path without a class."""
    try:
        from tasuki.contrib.django.tasks.backend import TasukiBackend
    except ImproperlyConfigured:  # without tasks in Django, only a path of ours is a mistake
        if path.startswith("tasuki."):
            raise
        return None
    try:
        found = import_string(path)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, TasukiBackend) else None


def declare_queues(app: App, backend: TasukiBackend) -> None:
    """Declare each queue of a backend that is not declared yet, with one consumer.

    Raises:
        ImproperlyConfigured: another backend has declared one of them with other options.
    """
    from tasuki.contrib.django.tasks.worker import give_up, run_task

    options = backend.settings
    with _lock, declared_at(settings_place()):
        known = _declared.setdefault(app, {})
        for name, queue in backend.names().items():
            if queue in known:
                _refuse_other(queue, known[queue], backend)
                continue
            known[queue] = backend
            dead_letter = {"queue": f"{queue}.dead", "max_attempts": options.max_attempts}
            fields: dict[str, Any] = {"dead_letter": dead_letter, **options.queues.get(name, {})}
            if options.priority:
                fields["requires"] = sorted({*fields.get("requires", ()), "priority"})
            handle = app.queue(queue, **fields)
            if options.workers:
                handle.task_consumer(**options.workers)
            rules = Retries(attempts=options.max_attempts)
            handle.task(name=NAME, retry=rules, on_give_up=give_up)(run_task)


def _refuse_other(queue: str, first: TasukiBackend, second: TasukiBackend) -> None:
    """Raise ImproperlyConfigured for two backends that want one queue in two ways."""
    if first.alias == second.alias:
        return
    for option in _OF_QUEUE:
        if getattr(first.settings, option) != getattr(second.settings, option):
            raise ImproperlyConfigured(
                f"TASKS[{first.alias!r}] and TASKS[{second.alias!r}] share the queue {queue!r}, and their OPTIONS "
                f"have another {option!r}: give both the same, or each its own QUEUES"
            )
