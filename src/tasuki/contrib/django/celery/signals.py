"""Signals of tasks: Django's signals, sent in the thread that publishes or runs the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.dispatch import Signal

R = TypeVar("R", bound=Callable[..., object])


class TaskSignal(Signal):
    """A signal whose ``connect`` is a decorator too; an error of a receiver is logged, and reaches no message."""

    def connect(self, receiver: R, *args: Any, **options: Any) -> R:
        """See Signal; returns the receiver."""
        super().connect(receiver, *args, **options)
        return receiver

    def tell(self, sender: object, **values: object) -> None:
        """Call all receivers. Django logs their errors (logger ``django.dispatch``)."""
        self.send_robust(sender, **values)


before_task_publish = TaskSignal()
"""``sender``: name of the task, ``headers`` with ``id`` and ``task``, ``body``: its args, its kwargs, an empty dict.

It is sent before the publish, within the transaction that is open; not for a task that follows another one.
"""
task_prerun = TaskSignal()
"""``sender`` and ``task``: the task, ``task_id``, ``args``, ``kwargs``."""
task_postrun = TaskSignal()
"""As ``task_prerun``, with ``retval`` (the result or the error) and ``state``: SUCCESS, FAILURE or RETRY."""
task_failure = TaskSignal()
"""As ``task_prerun``, with ``exception`` and ``traceback``: the task is given up. ``task_postrun`` follows a run."""
task_retry = TaskSignal()
"""As ``task_prerun``, with ``reason``, the error: the task is redelivered."""
worker_process_init = TaskSignal()
"""A worker process has started, and receives nothing yet. ``sender`` is None."""
