"""The queues of the shared tasks, with their workers."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from tasuki.contrib.django.celery.options import MAX_ATTEMPTS
from tasuki.contrib.django.celery.settings import worker_fields
from tasuki.contrib.django.celery.signals import worker_process_init
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.system.caller import declared_at

if TYPE_CHECKING:
    from tasuki import App, QueueHandle
    from tasuki.app.typed.entries import CompressFields, DeadLetterFields

COMPRESS: CompressFields = {"method": "gzip", "above": "16KiB"}
"""Of every queue, so that all processes read the same, whichever tasks they know."""

_lock = threading.Lock()
_declared: weakref.WeakKeyDictionary[App, dict[str, QueueHandle[Any]]] = weakref.WeakKeyDictionary()


def shared_queue(name: str) -> QueueHandle[Any]:
    """The queue of this name; declared with its workers at the first call.

    Raises:
        ImproperlyConfigured: the setting TASUKI is wrong.
    """
    return queue_in(project_app(), name)


def queue_in(app: App, name: str) -> QueueHandle[Any]:
    """The same of an App."""
    with _lock:
        known = _declared.setdefault(app, {})
        if name not in known:
            with declared_at(settings_place()):
                known[name] = _declare(app, name)
                if len(known) == 1:
                    app.on.start(_process_init)
        return known[name]


def _declare(app: App, name: str) -> QueueHandle[Any]:
    dead_letter: DeadLetterFields = {"queue": f"{name}.dead", "max_attempts": MAX_ATTEMPTS}
    # msgpack: arguments may be bytes
    queue: QueueHandle[Any] = app.queue(name, codec="msgpack", compress=COMPRESS, dead_letter=dead_letter)
    if fields := worker_fields():
        queue.task_consumer(**fields)
    return queue


def _process_init() -> None:
    worker_process_init.tell(None)
