"""The worker's side: run one task for a message, with the signals of its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tasuki.contracts.handler import Context, Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.steps import Suspended
from tasuki.contrib.django.celery.request import Request, requested
from tasuki.contrib.django.celery.signals import task_failure, task_postrun, task_prerun, task_retry
from tasuki.contrib.django.celery.states import FAILURE, RETRY, SUCCESS

_log = logging.getLogger("tasuki.django")

EXPIRES = "expires_after"
"""Header of a scheduled message: seconds after which it is not run any more."""
_TOLD = "_tasuki_told"
"""Attribute of an error for which ``task_failure`` was sent."""


class Runnable(Protocol):
    """A task, as a worker needs it."""

    name: str
    autoretry_for: tuple[type[BaseException], ...]

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in the current request."""

    def with_models(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a message, with the rows that they name."""


def run(task: Runnable, arguments: dict[str, Any], context: Context) -> Any:
    """Run a task in the thread of its handler; its result.

    Raises:
        BaseException: of the task; Tasuki tries it again or gives it up.
    """
    message = context.message
    assert message is not None  # only deliveries call this
    if _is_expired(message.headers):
        _log.info("task %s (%s) is not run: it has expired", task.name, message.id)
        return None
    call = {"task": task, "task_id": message.id, "args": (), "kwargs": arguments}
    task_prerun.tell(task, **call)
    try:
        with requested(Request(message.id, context.attempt - 1, message.headers)):
            value = task.call(**task.with_models(arguments))
    except (Interrupted, Snooze, Suspended):  # it comes again as if it had not run, or ``give_up`` ends it
        raise
    except BaseException as error:
        if _comes_again(task, error, context):
            task_retry.tell(task, **call, reason=error)
            task_postrun.tell(task, **call, retval=error, state=RETRY)
        else:
            _tell_failure(task, call, error)
            task_postrun.tell(task, **call, retval=error, state=FAILURE)
        raise
    task_postrun.tell(task, **call, retval=value, state=SUCCESS)
    return None if value is False else value  # to Tasuki, False would be a failure


def give_up(task: Runnable, error: BaseException, context: Context) -> None:
    """Send ``task_failure`` for a task that ends without its own code: its worker died, or its time was over."""
    if any(getattr(each, _TOLD, False) for each in (error, error.__cause__)):
        return
    id = context.message.id if context.message is not None else ""
    _tell_failure(task, {"task": task, "task_id": id, "args": (), "kwargs": {}}, error)


def _tell_failure(task: Runnable, call: dict[str, Any], error: BaseException) -> None:
    vars(error)[_TOLD] = True  # not setattr: it may be frozen
    task_failure.tell(task, **call, exception=error, traceback=error.__traceback__)


def _comes_again(task: Runnable, error: BaseException, context: Context) -> bool:
    if isinstance(error, Reject) or context.is_last_attempt:
        return False
    return isinstance(error, (Retry, *task.autoretry_for))


def _is_expired(headers: Any) -> bool:
    after, published = headers.get(EXPIRES), headers.get("timestamp")
    return after is not None and published is not None and time.time() > float(published) + float(after)
