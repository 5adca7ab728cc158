"""Results of tasks: kept in one of Django's caches, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.cache import caches
from django.utils.module_loading import import_string

from tasuki.contrib.django.tasks.shape import Status, Task, TaskError, TaskResult, TaskResultDoesNotExist

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
