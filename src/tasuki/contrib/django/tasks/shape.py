"""The names of ``django.tasks`` (Django 6), or the same names of the package ``django-tasks`` for older versions."""

from __future__ import annotations

import importlib
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured

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
