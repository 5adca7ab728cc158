"""Results of tasks: kept in one of Django's caches, as plain data; the names of ``django.tasks`` that they need."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import django
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

PACKAGE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        if error.name != PACKAGE:
            raise
        raise ImproperlyConfigured(
            "TasukiBackend needs django.tasks: take Django 6, or pip install django-tasks for this version"
        ) from error


_base, _backends = _module("base"), _module("backends.base")

_exceptions, _signals = _module("exceptions"), _module("signals")

_json = importlib.import_module("django.utils.json") if PACKAGE == "django.tasks" else _module("utils")


BaseTaskBackend: Any = _backends.BaseTaskBackend

Status: Any = _base.TaskResultStatus

Task: Any = _base.Task

TaskContext: Any = _base.TaskContext

TaskError: Any = _base.TaskError

TaskResult: Any = _base.TaskResult

TaskResultDoesNotExist: Any = _exceptions.TaskResultDoesNotExist

normalize_json: Any = _json.normalize_json

task_enqueued: Any = _signals.task_enqueued

task_started: Any = _signals.task_started

task_finished: Any = _signals.task_finished


def ready_result(task: Any, id: str, args: Any, kwargs: Any, backend: str, worker_ids: list[str]) -> Any:
    """The ``TaskResult`` of a message that waits; ``worker_ids``: one for each run so far."""
    return TaskResult(
        task=task,
        id=id,
        status=Status.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=backend,
        errors=[],
        worker_ids=worker_ids,
    )


_TIMES = ("enqueued_at", "started_at", "finished_at", "last_attempted_at")

_LOCAL = ("LocMemCache", "DummyCache")


class Results:
    """The results of one backend in a cache.

    Args:
        cache: its alias.
        seconds: how long each is kept after its last change.
    """

    def __init__(self, cache: str, seconds: float) -> None:
        self._cache = cache
        self._seconds = seconds

    def save(self, result: Any) -> None:
        """Keep a TaskResult in the place of an older one."""
        caches[self._cache].set(_key(result.id), as_data(result), self._seconds)

    def load(self, id: str) -> Any:
        """The TaskResult of an id. Raises TaskResultDoesNotExist."""
        data = caches[self._cache].get(_key(id))
        if data is None:
            raise TaskResultDoesNotExist(id)
        return from_data(data)

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what this one saves."""
        return type(caches[self._cache]).__name__ not in _LOCAL


def _key(id: str) -> str:
    return f"tasuki.result.{id}"


def as_data(result: Any) -> dict[str, Any]:
    """A TaskResult as values that every cache can carry; its task by its path."""
    task = result.task
    return {
        "id": result.id,
        "task": task.module_path,
        "using": {"priority": task.priority, "queue_name": task.queue_name, "backend": task.backend},
        "run_after": None if task.run_after is None else task.run_after.isoformat(),
        "status": str(result.status.value),
        "args": result.args,
        "kwargs": result.kwargs,
        "errors": [[error.exception_class_path, error.traceback] for error in result.errors],
        "worker_ids": list(result.worker_ids),
        "value": result._return_value,  # noqa: SLF001 - the property raises while it is not there
        **{name: _text(getattr(result, name)) for name in _TIMES},
    }


def from_data(data: Mapping[str, Any]) -> Any:
    """The TaskResult of ``as_data``. Raises ImportError: its task is gone; ValueError: it is no task any more."""
    result = TaskResult(
        task=task_of(data["task"]).using(**data["using"], run_after=_time(data["run_after"])),
        id=data["id"],
        status=Status(data["status"]),
        args=data["args"],
        kwargs=data["kwargs"],
        backend=data["using"]["backend"],
        errors=[TaskError(exception_class_path=path, traceback=text) for path, text in data["errors"]],
        worker_ids=list(data["worker_ids"]),
        **{name: _time(data[name]) for name in _TIMES},
    )
    put(result, _return_value=data["value"])
    return result


def task_of(path: str) -> Any:
    """The Task that a dotted path names. Raises ImportError; ValueError: it names something else."""
    found = import_string(path)
    if not isinstance(found, Task):
        raise ValueError(f"{path!r} is no task: it is not decorated with @task")
    return found


def put(result: Any, **values: Any) -> None:
    """Change fields of a TaskResult, which is frozen for its users."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
