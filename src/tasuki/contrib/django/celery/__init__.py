"""Celery's words on Tasuki's queues, for a Django project that moves: a changed import, and the calls stay.

``shared_task`` with ``delay``, ``s`` and ``si`` · ``Celery`` with ``task`` and ``add_periodic_task`` · ``chain``,
``group``, ``chord`` · ``crontab`` · signals of tasks · ``states`` · ``ping``. New code needs none of them: write
``queue("jobs").task`` (docs/how-to/tasks.md).
"""

from __future__ import annotations

from typing import NoReturn

from tasuki.contracts.handler import Retry
from tasuki.contrib.django.celery import states
from tasuki.contrib.django.celery.app import Celery, ping
from tasuki.contrib.django.celery.calls.request import MaxRetriesExceededError, SoftTimeLimitExceeded
from tasuki.contrib.django.celery.calls.signature import Signature, chain, chord, group
from tasuki.contrib.django.celery.names import OF_MODULE
from tasuki.contrib.django.celery.schedules import crontab
from tasuki.contrib.django.celery.signals import (
    before_task_publish,
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
    worker_process_init,
)
from tasuki.contrib.django.celery.task import Task, shared_task

__all__ = [
    "Celery",
    "MaxRetriesExceededError",
    "Retry",
    "Signature",
    "SoftTimeLimitExceeded",
    "Task",
    "before_task_publish",
    "chain",
    "chord",
    "crontab",
    "group",
    "ping",
    "shared_task",
    "states",
    "task_failure",
    "task_postrun",
    "task_prerun",
    "task_retry",
    "worker_process_init",
]


def __getattr__(name: str) -> NoReturn:
    if name in OF_MODULE:  # an ImportError, as Python drops the text of an AttributeError where a name is imported
        raise ImportError(f"tasuki.contrib.django.celery has no {name!r}; {OF_MODULE[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
