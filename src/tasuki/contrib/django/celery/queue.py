"""The one queue of the shared tasks, with their workers."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from tasuki.contrib.django.celery.settings import queue_name, worker_fields
from tasuki.contrib.django.celery.signals import worker_process_init
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.system.caller import declared_at

if TYPE_CHECKING:
    from tasuki import App, QueueHandle
    from tasuki.app.typed.entries import DeadLetterFields

MAX_ATTEMPTS = 10
"""Deaths of workers that one message may see; errors of tasks end them at once."""

_lock = threading.Lock()
_declared: weakref.WeakKeyDictionary[App, QueueHandle[Any]] = weakref.WeakKeyDictionary()


def shared_queue() -> QueueHandle[Any]:
    """The queue; declared with its workers at the first call.

    Raises:
        ImproperlyConfigured: the setting TASUKI is wrong.
    """
    app = project_app()
    with _lock:
        if app not in _declared:
            with declared_at(settings_place()):
                _declared[app] = _declare(app, queue_name())
        return _declared[app]


def _declare(app: App, name: str) -> QueueHandle[Any]:
    dead_letter: DeadLetterFields = {"queue": f"{name}.dead", "max_attempts": MAX_ATTEMPTS}
    queue: QueueHandle[Any] = app.queue(name, codec="msgpack", dead_letter=dead_letter)  # arguments may be bytes
    if fields := worker_fields():
        queue.workers(**fields)

    def process_init() -> None:
        worker_process_init.tell(None)

    app.on_start(process_init)
    return queue
