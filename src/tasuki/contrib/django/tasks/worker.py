"""The worker's side: run one task of Django for a message, and record how it went."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import replace
from pickle import PickleError
from traceback import format_exception
from typing import Any

from django.utils import timezone

from tasuki.contracts.handler import Context, Interrupted, Reject, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.contrib.django.tasks.backend import TasukiBackend
from tasuki.contrib.django.tasks.results import (
    Status,
    TaskContext,
    TaskError,
    TaskResultDoesNotExist,
    normalize_json,
    put,
    ready_result,
    task_finished,
    task_of,
    task_started,
)
from tasuki.errors import HandlerTimeoutError

_log = logging.getLogger("tasuki.django")

_RECORDED = "_tasuki_recorded"
"""Attribute of an error whose task has FAILED by it."""
_AGAIN = 2.0
"""Seconds after which a task whose cache could not be used is tried again."""
_UNREADABLE = PickleError, EOFError, ImportError, AttributeError, LookupError, TypeError, ValueError
"""Errors of a kept result that cannot be read: waiting changes nothing."""
_ENDS = HandlerTimeoutError, Interrupted
_INTERRUPTED = f"{Interrupted.__module__}.{Interrupted.__qualname__}"


def run_task(task: str, args: list[Any], kwargs: dict[str, Any], using: dict[str, Any], context: Context) -> None:
    """Run the task of a dotted path, in a thread.

    Raises:
        Reject: the path names no task of this backend.
        Snooze: the cache of the results fails. Nothing has run, so nothing has failed.
        BaseException: of the task; Tasuki tries it again or gives it up.
    """
    resolved = _resolve(task, using)
    backend = resolved.get_backend()
    try:
        result = _begin(_known(resolved, args, kwargs, context))
    except Exception as error:
        reason = f"the cache of the results fails: {type(error).__name__}: {error}"
        raise Snooze(_AGAIN, reason) from error
    task_started.send(type(backend), task_result=result)
    try:
        given = [TaskContext(task_result=result)] if result.task.takes_context else []
        value = normalize_json(result.task.call(*given, *result.args, **result.kwargs))
    except (Snooze, Suspended):
        _later(backend, result)
        raise
    except BaseException as error:
        result.errors.append(_error_of(error))
        if _is_over(error, context):
            vars(error)[_RECORDED] = True  # not setattr: it may be frozen
            _finish(backend, result, Status.FAILED, is_told=not isinstance(error, KeyboardInterrupt))
        else:
            _later(backend, result)
        raise
    put(result, _return_value=value)
    _finish(backend, result, Status.SUCCESSFUL)


def give_up(
    task: str, args: list[Any], kwargs: dict[str, Any], using: dict[str, Any], error: BaseException, context: Context
) -> None:
    """Record as FAILED a task that ends without its own code: its worker died, or its time was over."""
    if any(getattr(each, _RECORDED, False) for each in (error, error.__cause__)):
        return
    try:
        resolved = _resolve(task, using)
    except Reject:  # there is no such task, so nothing knows its results
        return
    try:
        result = _known(resolved, args, kwargs, context)
    except Exception:
        _log.exception("cannot read the result of task %s: its earlier attempts are not listed", context.message)
        result = _new(resolved, args, kwargs, context)
    told, errors = _error_of(error), result.errors
    if isinstance(error, _ENDS) and errors and errors[-1].exception_class_path == _INTERRUPTED:
        seen = errors.pop()  # the same failure, as the task has seen it
        told = replace(told, traceback=seen.traceback + told.traceback)
    errors.append(told)
    _finish(result.task.get_backend(), result, Status.FAILED)


def _resolve(path: str, using: dict[str, Any]) -> Any:
    """The task of a path. Raises Reject: a message may only name tasks that are sent by this backend."""
    alias = using.get("backend")
    try:
        task = task_of(path).using(**using)
        backend = task.get_backend()
    except Exception as error:
        raise Reject(f"{path!r} is no task of the backend {alias!r} here") from error
    if not isinstance(backend, TasukiBackend):
        raise Reject(f"{path!r} is no task of a TasukiBackend: {alias!r} is another one in TASKS")
    return task


def _known(task: Any, args: list[Any], kwargs: dict[str, Any], context: Context) -> Any:
    """The result as it was kept, else a new one of the message alone. Raises what the cache raises."""
    backend, message = task.get_backend(), context.message
    assert message is not None  # only deliveries call this
    if backend.supports_get_result:
        try:
            return backend.get_result(message.id)
        except TaskResultDoesNotExist:
            pass
        except _UNREADABLE:
            _log.exception("the result of task %s cannot be read, and begins again", message.id)
    return _new(task, args, kwargs, context)


def _new(task: Any, args: list[Any], kwargs: dict[str, Any], context: Context) -> Any:
    """A result of the message alone."""
    message = context.message
    assert message is not None  # only deliveries call this
    unknown = [""] * (context.attempt - 1)  # their workers are not recorded
    return ready_result(task, message.id, args, kwargs, task.backend, unknown)


def _begin(result: Any) -> Any:
    backend, now = result.task.get_backend(), timezone.now()
    started = result.started_at or now
    put(result, status=Status.RUNNING, started_at=started, last_attempted_at=now, finished_at=None)  # None: redriven
    result.worker_ids.append(f"{socket.gethostname()}:{os.getpid()}")
    backend.save(result)
    return result


def _is_over(error: BaseException, context: Context) -> bool:
    """Whether there is no other attempt. An interrupted one may come back uncounted: else ``give_up`` ends it."""
    return isinstance(error, Reject) or (context.delivery.is_last_attempt and not isinstance(error, Interrupted))


def _later(backend: Any, result: Any) -> None:
    put(result, status=Status.READY)
    _save(backend, result)


def _finish(backend: Any, result: Any, status: Any, *, is_told: bool = True) -> None:
    """Record the end; ``is_told``: and send the signal, which Django does not for a KeyboardInterrupt."""
    put(result, status=status, finished_at=timezone.now())
    _save(backend, result)
    if is_told:
        task_finished.send(type(backend), task_result=result)


def _save(backend: Any, result: Any) -> None:
    """Keep a result after a run; a cache that fails then must not decide whether the task runs again."""
    try:
        backend.save(result)
    except Exception:
        _log.exception("cannot keep the result of task %s (%s): readers see its state before", result.id, result.status)


def _error_of(error: BaseException) -> Any:
    kind = type(error)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback="".join(format_exception(error))
    )
