"""The worker's side: run one task for a message, with the signals of its way and the methods of its class."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any, Protocol

from tasuki.contracts.handler import Context, Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.contrib.django.celery.request import Request, SoftTimeLimitExceeded, requested
from tasuki.contrib.django.celery.signals import (
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
)
from tasuki.contrib.django.celery.states import FAILURE, RETRY, SUCCESS
from tasuki.contrib.django.project import project_app
from tasuki.errors import HandlerTimeoutError
from tasuki.handlers.threads import interrupted_as

_log = logging.getLogger("tasuki.django")


EXPIRES = "expires_after"
"""Header of a scheduled message: seconds after which it is not run any more."""

_TOLD = "_tasuki_told"
"""Attribute of an error for which ``task_failure`` was sent."""


class _Result(Enum):
    """A result that is written as ``False``; ``False`` itself would tell Tasuki that the handler has failed."""

    FALSE = False


class ErrorInfo:
    """The ``einfo`` of ``on_failure`` and ``on_retry``; its text is the traceback."""

    def __init__(self, error: BaseException) -> None:
        self.exception = error
        self.type = type(error)
        self.traceback = "".join(traceback.format_exception(error))

    def __str__(self) -> str:
        return self.traceback


class TaskHooks:
    """The methods that a base class of tasks may have; a worker calls them in the thread of the task.

    ``args`` is empty, and ``kwargs`` has all arguments by their names.
    """

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called before the function; an error fails the task."""

    def on_success(self, retval: Any, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called after the function has returned."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any], einfo: ErrorInfo
    ) -> None:
        """Called after a failure that gets another attempt."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any], einfo: ErrorInfo
    ) -> None:
        """Called when the task is given up, also as its time is over or its worker died repeatedly."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: ErrorInfo | None,
    ) -> None:
        """Called after each of the other three."""


HOOKS = ("before_start", "on_success", "on_retry", "on_failure", "after_return")


class Runnable(Protocol):
    """A task, as a worker needs it."""

    name: str
    autoretry_for: tuple[type[BaseException], ...]
    dont_autoretry_for: tuple[type[BaseException], ...]
    has_soft_limit: bool

    def enter(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in the current request, by way of the class's own ``__call__``."""

    def with_models(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a message, with the rows that they name."""

    def tell(self, hook: str, *values: Any) -> None:
        """Call one of the methods of Hooks; its errors are logged."""

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See Hooks."""


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
        found = task.with_models(arguments)
        request = Request(message.id, context.attempt - 1, message.headers, (), found, entering=task)
        with requested(request), limited(task):
            task.before_start(message.id, (), found)
            value = task.enter(**found)
    except (Interrupted, SoftTimeLimitExceeded, Snooze, Suspended):
        raise  # it is redelivered as if it had not run, or ``give_up`` ends it
    except BaseException as error:
        if _comes_again(task, error, context):
            tell_retry(task, call, error)
        else:
            tell_failure(task, call, error)
            task_postrun.tell(task, **call, retval=error, state=FAILURE)
        raise
    tell_success(task, call, value)
    return _Result.FALSE if value is False else value


def limited(task: Runnable) -> AbstractContextManager[None]:
    """Within this, the end of the time raises Celery's exception, if the task has a ``soft_time_limit``."""
    return interrupted_as(SoftTimeLimitExceeded) if task.has_soft_limit else nullcontext()


def give_up(task: Runnable, error: BaseException, arguments: dict[str, Any], context: Context) -> None:
    """Report a task that ends without its own code: its worker died, or its time was over."""
    if any(getattr(each, _TOLD, False) for each in (error, error.__cause__)):
        return
    if isinstance(error, HandlerTimeoutError) and task.has_soft_limit:
        cause, error = error, SoftTimeLimitExceeded(str(error))
        error.__cause__ = cause
    id = context.message.id if context.message is not None else ""
    tell_failure(task, {"task": task, "task_id": id, "args": (), "kwargs": arguments}, error)


def tell_success(task: Runnable, call: dict[str, Any], value: Any) -> None:
    """Send the signals of a success, and call its methods."""
    task_postrun.tell(task, **call, retval=value, state=SUCCESS)
    task.tell("on_success", value, call["task_id"], call["args"], call["kwargs"])
    task.tell("after_return", SUCCESS, value, call["task_id"], call["args"], call["kwargs"], None)


def tell_failure(task: Runnable, call: dict[str, Any], error: BaseException) -> None:
    """Send the signal of a failure that is the last one, and call its methods."""
    vars(error)[_TOLD] = True  # not setattr: it may be frozen
    task_failure.tell(task, **call, exception=error, traceback=error.__traceback__)
    _tell_of_error(task, call, "on_failure", FAILURE, error)


def tell_retry(task: Runnable, call: dict[str, Any], error: BaseException) -> None:
    """Send the signals of a failure that gets another attempt, and call its methods."""
    task_retry.tell(task, **call, reason=error)
    task_postrun.tell(task, **call, retval=error, state=RETRY)
    _tell_of_error(task, call, "on_retry", RETRY, error)


def _tell_of_error(task: Runnable, call: dict[str, Any], hook: str, state: str, error: BaseException) -> None:
    about = (call["task_id"], call["args"], call["kwargs"], ErrorInfo(error))
    task.tell(hook, error, *about)
    task.tell("after_return", state, error, *about)


def _comes_again(task: Runnable, error: BaseException, context: Context) -> bool:
    if isinstance(error, Reject) or context.delivery.is_last_attempt:
        return False
    if isinstance(error, Retry):
        return True
    return isinstance(error, task.autoretry_for) and not isinstance(error, task.dont_autoretry_for)


def _is_expired(headers: Any) -> bool:
    after, published = headers.get(EXPIRES), headers.get("timestamp")
    if after is None or published is None:
        return False
    app = project_app()
    clock = app._runtime.clock if app._runtime.assembly is None else app._runtime.assembly.clock  # of a test: virtual
    return clock.time() > float(published) + float(after)
