"""Celery's words on Tasuki's queues, for a Django project that moves: a changed import, and the calls stay.

``shared_task`` with ``delay``, ``s`` and ``si`` · ``chain``, ``group``, ``chord`` · ``crontab`` · signals of tasks ·
``states`` · ``ping``. New code needs none of them: write ``queue("jobs").task`` (docs/how-to/tasks.md).
"""

from __future__ import annotations

from tasuki.contrib.django.celery import states
from tasuki.contrib.django.celery.canvas import chain, chord, group
from tasuki.contrib.django.celery.schedules import crontab
from tasuki.contrib.django.celery.signals import (
    before_task_publish,
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
    worker_process_init,
)
from tasuki.contrib.django.celery.task import Signature, Task, shared_task
from tasuki.contrib.django.celery.workers import ping

__all__ = [
    "Signature",
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
