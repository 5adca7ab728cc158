"""TasukiBackend: what Django's tasks are enqueued with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.utils import timezone

from tasuki.contrib.django.project import project_app
from tasuki.contrib.django.tasks.options import DEFAULT, NAME, Options, priority_of, read_options
from tasuki.contrib.django.tasks.results import Results, put
from tasuki.contrib.django.tasks.shape import BaseTaskBackend, ready_result, task_enqueued
from tasuki.contrib.django.transactions import DjangoSync
from tasuki.message import MESSAGE_TYPE, new_id
from tasuki.registry.references import did_you_mean

if TYPE_CHECKING:
    from tasuki.app.app import App


class TasukiBackend(BaseTaskBackend):
    """Publishes each task as one message; see :class:`tasuki.contrib.django.tasks.options.Options`."""

    supports_defer = True
    supports_async_task = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.settings: Options = read_options(alias, self.options, self.queues)
        self.store: Results | None = None
        if self.settings.results is not None:
            self.store = Results(self.settings.results, self.settings.result_seconds)
        self.supports_priority = self.settings.priority
        self.supports_get_result = self.store is not None

    @property
    def app(self) -> App:
        """The App that it publishes with."""
        return project_app()

    def names(self) -> dict[str, str]:
        """Name of each queue in Django → its name in the App."""
        return {name: name for name in sorted(self.queues or {DEFAULT})}

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Publish a task and return its TaskResult, whose id is the message's.

        Raises:
            InvalidTask: the task does not fit the backend.
            TasukiError: as :meth:`tasuki.queues.queue.Queue.publish`.
        """
        self.validate_task(task)
        result = ready_result(task, new_id(), args, kwargs, self.alias, [])
        put(result, enqueued_at=timezone.now())
        self.save(result)  # before the message: its worker may be quick
        self.send(result)
        task_enqueued.send(type(self), task_result=result)
        return result

    def send(self, result: Any) -> None:
        """Publish the message of a TaskResult."""
        task, app = result.task, self.app
        using = {"priority": task.priority, "queue_name": task.queue_name, "backend": task.backend}
        body = {"task": task.module_path, "args": result.args, "kwargs": result.kwargs, "using": using}
        options: dict[str, Any] = {"id": result.id}
        if task.run_after is not None:
            options["at"] = task.run_after if timezone.is_aware(task.run_after) else timezone.make_aware(task.run_after)
        if self.supports_priority:
            options["priority"] = priority_of(task.priority)
        sync = app.sync
        publish = sync.publish_now if isinstance(sync, DjangoSync) and not self.settings.transactional else sync.publish
        publish(self.names().get(task.queue_name, DEFAULT), body, {MESSAGE_TYPE: NAME}, **options)

    def save(self, result: Any) -> None:
        """Keep a TaskResult, if results are kept."""
        if self.store is not None:
            self.store.save(result)

    def get_result(self, result_id: str) -> Any:
        """The TaskResult of an id. Raises TaskResultDoesNotExist; NotImplementedError: results are not kept."""
        if self.store is None:
            return super().get_result(result_id)
        return self.store.load(result_id)

    def check(self, **kwargs: Any) -> list[Any]:
        """Django's system checks of this backend."""
        cache = self.settings.results
        if self.store is None or cache is None:
            return []
        if cache not in settings.CACHES:
            problem, hint = "CACHES does not have", did_you_mean(cache, settings.CACHES)
        elif not self.store.is_shared:
            problem = "other processes do not see"
            hint = "name a shared cache, such as the one of Redis, of a database or of files"
        else:
            return []
        text = f"TASKS[{self.alias!r}] keeps results in the cache {cache!r}, which {problem}"
        return [checks.Error(text, hint=hint or None, id="tasuki.E003")]
