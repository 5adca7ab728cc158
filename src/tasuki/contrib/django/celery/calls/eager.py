"""Tasks that run at once, where they are called: for tests with the setting ``CELERY_TASK_ALWAYS_EAGER``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tasuki.app.guesses import Guessed
from tasuki.contracts.handler import Retry
from tasuki.contrib.django.celery.calls.request import Request, requested
from tasuki.contrib.django.celery.calls.running import Runnable, tell_failure, tell_retry, tell_success
from tasuki.contrib.django.celery.names import OF_RESULT
from tasuki.contrib.django.celery.settings import setting
from tasuki.contrib.django.celery.signals import task_postrun, task_prerun
from tasuki.contrib.django.celery.states import FAILURE, RETRY, SUCCESS
from tasuki.message import new_id

EAGER_RETRIES = 100
"""Most retries of an eager run, of a task that has no bound of its own."""


@dataclass(frozen=True)
class EagerResult(Guessed):
    """A task that has run: ``result`` is what it returned, or its error in the state FAILURE."""

    _guesses: ClassVar[Mapping[str, str]] = OF_RESULT

    id: str
    state: str
    result: Any

    def get(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """What the task returned. Raises Exception: its error, unless ``propagate`` is False."""
        if propagate and self.failed():
            raise self.result
        return self.result

    def successful(self) -> bool:
        """Whether the task has returned."""
        return self.state == SUCCESS

    def failed(self) -> bool:
        """Whether the task was given up."""
        return self.state == FAILURE


class Call(Protocol):
    """A signature: one call of a task."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    immutable: bool

    @property
    def task(self) -> Runnable:
        """The task."""


def is_eager() -> bool:
    """Whether tasks run at once."""
    return bool(setting("TASK_ALWAYS_EAGER"))


def run_now(signature: Call, *before: Any) -> EagerResult:
    """Run a call in this thread, with its retries and without their delays; ``before``: the result that it follows.

    Raises:
        Exception: of the task, with the setting ``CELERY_TASK_EAGER_PROPAGATES``.
    """
    id = new_id()
    args = signature.args if signature.immutable else (*before, *signature.args)
    ran, retries = _run_once(signature, id, args, 0), 0
    while ran.state == RETRY:
        retries += 1
        ran = _run_once(signature, id, args, retries)
    if ran.state == FAILURE and setting("TASK_EAGER_PROPAGATES"):
        raise ran.result
    return ran


def _run_once(signature: Call, id: str, args: tuple[Any, ...], retries: int) -> EagerResult:
    task, kwargs = signature.task, signature.kwargs
    call = {"task": task, "task_id": id, "args": args, "kwargs": kwargs}
    task_prerun.tell(task, **call)
    try:
        with requested(Request(id, retries, {}, args, kwargs, is_eager=True, entering=task)):
            task.before_start(id, args, kwargs)
            value = task.enter(*args, **kwargs)
    except Exception as error:
        if isinstance(error, Retry) and retries < EAGER_RETRIES:
            tell_retry(task, call, error)
            return EagerResult(id, RETRY, error)
        tell_failure(task, call, error)
        task_postrun.tell(task, **call, retval=error, state=FAILURE)
        return EagerResult(id, FAILURE, error)
    tell_success(task, call, value)
    return EagerResult(id, SUCCESS, value)


def run_chain(signatures: Iterable[Call], *before: Any) -> EagerResult:
    """Run one after the other, until one fails; the last that ran. ``before``: the result that the first follows."""
    first, *others = signatures
    ran = run_now(first, *before)
    for each in others:
        if ran.state == FAILURE:
            break
        ran = run_now(each, ran.result)
    return ran


def run_chord(header: Iterable[Call], body: Iterable[Call], errback: Call | None) -> list[EagerResult]:
    """Run all, then ``body``; or ``errback``, if one has failed. What the group ran."""
    ran = [run_now(each) for each in header]
    failed = [each.result for each in ran if each.state == FAILURE]
    if failed and errback is not None:
        run_now(errback, {"kind": type(failed[0]).__name__, "message": str(failed[0])}, None, None)
    elif not failed and body:
        run_chain(body, [each.result for each in ran])
    return ran
