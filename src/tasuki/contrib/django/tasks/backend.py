"""TasukiBackend: Django's tasks are enqueued with it; and its OPTIONS in the setting TASKS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from tasuki.contrib.django.project import project_app
from tasuki.contrib.django.tasks.results import BaseTaskBackend, TaskResults, put, ready_result, task_enqueued
from tasuki.contrib.django.transactions import DjangoSync
from tasuki.message import MESSAGE_TYPE, new_id
from tasuki.registry.entry import did_you_mean
from tasuki.units import parse_duration

if TYPE_CHECKING:
    from tasuki.app.app import App


DEFAULT = "default"
"""The queue for all names where QUEUES is empty, which allows any."""

NAME = "django.task"
"""The task of ours that runs all of Django's."""

_STEPS, _LOWEST, _VALUES = 10, -100, 201
"""Of priorities: ours, and Django's from -100 to 100."""

_TYPES = {"results": str | None, "transactional": bool, "priority": bool, "queues": Mapping, "workers": Mapping}

_NOUNS = {str | None: "the alias of a cache", bool: "True or False", Mapping: "a dict"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a backend may be given.

    Args:
        max_attempts: runs of a task before it has FAILED; as in Django, one.
        results: alias of the cache that keeps the results; None: results cannot be read.
        result_ttl: how long they are kept (``7d`` is ``168h``; seconds, text or timedelta).
        transactional: let a message belong to Django's transaction; False: publish at once, as Django says.
        priority: let tasks have priorities; ``tasuki check`` then refuses a driver that has none.
        queues: name of a queue → the fields of its ``queue.queue``.
        workers: the fields of each queue's consumer, such as ``{"concurrency": 4}``.
    """

    max_attempts: int = 1
    results: str | None = None
    result_ttl: Any = "168h"
    transactional: bool = False
    priority: bool = False
    queues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result_seconds(self) -> float:
        """``result_ttl`` in seconds."""
        return parse_duration(self.result_ttl)


def read_options(alias: str, given: Mapping[str, Any], names: Iterable[str]) -> Options:
    """Check the OPTIONS of one alias, whose QUEUES are ``names`` (none: any name is allowed).

    Raises:
        ImproperlyConfigured: an unknown option, or a value that does not fit.
    """
    place, known = f"TASKS[{alias!r}]['OPTIONS']", [each.name for each in fields(Options)]
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"there are: {', '.join(known)}"
            raise ImproperlyConfigured(f"{place} has no option {name!r}; {hint}")
    options = Options(**given)
    if type(options.max_attempts) is not int or options.max_attempts < 1:
        raise ImproperlyConfigured(f"{place}['max_attempts'] must be a number from 1 on, not {options.max_attempts!r}")
    try:
        options.result_seconds  # noqa: B018 - for its error
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{place}['result_ttl']: {error}") from error
    _refuse_types(place, options)
    for name in options.queues:
        if list(names) and name not in names:
            raise ImproperlyConfigured(f"{place}['queues'] names {name!r}, which QUEUES of {alias!r} does not have")
    return options


def _refuse_types(place: str, options: Options) -> None:
    """Raise ImproperlyConfigured for a value of another type."""
    for name, types in _TYPES.items():
        if not isinstance(value := getattr(options, name), types):
            raise ImproperlyConfigured(f"{place}[{name!r}] must be {_NOUNS[types]}, not {value!r}")
    for name, value in options.queues.items():
        if not isinstance(value, Mapping):
            raise ImproperlyConfigured(f"{place}['queues'][{name!r}] must be a dict of fields, not {value!r}")


def priority_of(value: int) -> int:
    """Django's priority (-100 to 100) as one of ours (0 to 9): order is kept, near values become the same."""
    return (value - _LOWEST) * _STEPS // _VALUES


class TasukiBackend(BaseTaskBackend):
    """Publishes each task as one message; see :class:`tasuki.contrib.django.tasks.backend.Options`."""

    supports_defer = True
    supports_async_task = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.settings: Options = read_options(alias, self.options, self.queues)
        self.store: TaskResults | None = None
        if self.settings.results is not None:
            self.store = TaskResults(self.settings.results, self.settings.result_seconds)
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
