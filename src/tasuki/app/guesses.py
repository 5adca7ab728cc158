"""Names of other libraries: using one raises an AttributeError that says which line to write here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, ClassVar, NoReturn

_SENDING = ("delay", "kiq", "send", "enqueue", "apply_async", "send_task", "enqueue_job", "add_job", "put", "push")
_DECORATING = ("consumer", "handler", "subscriber", "actor", "job", "shared_task", "on_message")

_ON_QUEUE = (
    "write 'await queue.publish(body)', with delay='5s' for later; "
    "without an event loop 'app.sync.publish(queue, body)'"
)
_ON_APP = "write 'await app.publish(queue, body)', or 'app.sync.publish(queue, body)' without an event loop"
_DECORATOR = "write '@queue.consumer()' above the function"
_HANDLE = "'queue = app.queue(\"jobs\")'"
_TASK = "write '@queue.task' above a function with arguments"
_ON_TASK = (
    "write 'await task.publish(…)' with the function's arguments, or 'task.send(…)' without an event loop; "
    "for later 'task.with_options(delay=…).publish(…)'"
)
_WORKER = "start a worker with the command 'tasuki run', or in a program with 'await app.run()'"

NOT_A_DECORATOR = f"cannot be called, and is no decorator: {_DECORATOR}"
NOT_A_SYNC_BLOCK = (
    "the app opens in an event loop: write 'async with app:'; "
    "without an event loop 'app.sync.publish(queue, body)', which opens the app"
)

OF_FUNCTION = dict.fromkeys(_SENDING, f"a handler stays a plain function; {_ON_QUEUE}")
_OF_TASKS = ("s", "si", "schedule", "defer", "perform_async", "apply", "kicker", "call", "send_with_options")
OF_TASK = {
    **dict.fromkeys((*_SENDING, *_OF_TASKS), _ON_TASK),
    **dict.fromkeys(
        ("publish_many", "map", "starmap", "send_many"), "write 'await queue.publish_many([task.message(…), …])'"
    ),
}
OF_QUEUE = {
    **dict.fromkeys(_SENDING, _ON_QUEUE),
    **dict.fromkeys(_DECORATING, _DECORATOR),
    **dict.fromkeys(("get", "pop", "receive"), f"a queue calls its consumers; {_DECORATOR}"),
}
_ON_JOB = "write 'await job.result(timeout=…)', or 'job.result(timeout=…)' after send; its queue needs result='1h'"
_STATUS = "write 'await job.status()', or 'job.status()' after send"
OF_JOB = {
    **dict.fromkeys(("get", "wait", "wait_result", "return_value", "get_result", "result_info", "collect"), _ON_JOB),
    **dict.fromkeys(
        ("ready", "successful", "failed", "state", "is_finished", "get_status", "is_ready", "info"), _STATUS
    ),
    **dict.fromkeys(
        ("revoke", "abort", "forget", "delete"), "write 'await job.cancel()', or 'job.cancel()' after send"
    ),
    **dict.fromkeys(("task_id", "job_id", "message_id"), "write 'job.id'"),
}
_HOOKS = {
    "on.begin": ("before_start", "on_message_start", "task_prerun", "pre_execute", "on_job_start"),
    "on.done": ("on_success", "after_success", "task_success", "on_job_end"),
    "on.failed": ("on_failure", "on_error", "on_retry", "task_failure", "error_handler", "exception_handler"),
    "on.start": ("on_startup", "startup", "on_worker_start", "worker_ready"),
    "on.stop": ("on_shutdown", "shutdown", "on_worker_stop", "worker_shutdown"),
    "provide": ("dependency", "provider", "inject", "depends"),
}
"""Decorators of ours, and the names of others for them."""
_PARTS = {
    "jobs": ("cancel", "explain", "dry_run"),
    "dead": ("redrive", "edit", "batches"),
    "workers": ("pause", "resume", "scale"),
}
"""Parts of the app, and the verbs that people look for at the app."""
OF_APP = {
    **dict.fromkeys(_SENDING, _ON_APP),
    **dict.fromkeys(_DECORATING, f"a handler belongs to a queue: {_HANDLE}; then {_DECORATOR}"),
    **dict.fromkeys(("task", "shared_task", "actor"), f"a task belongs to a queue: {_HANDLE}; then {_TASK}"),
    **{name: f"write '@app.{own}' above the function" for own, names in _HOOKS.items() for name in names},
    **{name: f"write 'app.{part}.{name}'" for part, names in _PARTS.items() for name in names},
    **dict.fromkeys(("status", "result", "get_job"), "write 'app.jobs.get(id, queue=queue)', which has both"),
    **dict.fromkeys(
        ("schedule", "add_periodic_task"), "write '@app.every(\"10m\")' above the function, or 'app.schedules.add(…)'"
    ),
    **dict.fromkeys(("worker_main", "start_worker", "run_worker", "run_forever"), _WORKER),
}


class Guessed:
    """Names that a class lacks, and the remedy for each."""

    __slots__ = ()

    _guesses: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # a type checker would take every name for one that exists

        def __getattr__(self, name: str) -> NoReturn:
            problem = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in self._guesses:
                raise AttributeError(f"{problem}: {self._guesses[name]}")
            raise AttributeError(problem, name=name, obj=self)


def answer_guesses(function: Callable[..., object]) -> None:
    """Let ``handler.delay(…)`` and its like raise the remedy; attributes that the function has already stay."""
    if not isinstance(function, FunctionType):
        return
    for name, remedy in OF_FUNCTION.items():
        if not hasattr(function, name):
            setattr(function, name, _refusing(f"{function.__name__}.{name}: {remedy}"))


def _refusing(problem: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **options: object) -> NoReturn:
        raise AttributeError(problem)

    return refuse
