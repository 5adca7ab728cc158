"""The request of a running task: what it knows about its message, and ``self.retry()``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from tasuki.app.guesses import Guessed
from tasuki.contracts.handler import Retry
from tasuki.contrib.django.celery.names import OF_REQUEST
from tasuki.units import Duration


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - Celery's name
    """The time of ``soft_time_limit`` is over; raised within the function of the task."""


class MaxRetriesExceededError(Exception):
    """``self.retry()`` of a task that had its last retry."""


class Wanted(NamedTuple):
    """What a call of ``retry`` says; ``most``: retries, None: no bound."""

    exc: BaseException | None
    countdown: Duration
    eta: datetime | None
    most: int | None


def signal_of(name: str, request: Request, wanted: Wanted) -> Retry:
    """The signal to raise.

    Raises:
        BaseException: ``exc``, or the error that is being handled: there is no other attempt.
        MaxRetriesExceededError: the same, and there is no error.
    """
    if request.called_directly:
        raise wanted.exc if wanted.exc is not None else Retry("the function was called directly")
    if wanted.most is not None and request.retries >= wanted.most:
        if wanted.exc is not None:
            raise wanted.exc
        raise MaxRetriesExceededError(f"task {name} ({request.id}) had its last retry: {wanted.most}")
    reason = "" if wanted.exc is None else f"{type(wanted.exc).__name__}: {wanted.exc}"
    found = Retry(reason, after=wanted.countdown) if wanted.eta is None else Retry(reason, at=wanted.eta)
    found.__cause__ = wanted.exc
    return found


def refuse_others(name: str, request: Request, args: Any, kwargs: Mapping[str, Any] | None) -> None:
    """Raise TypeError for other arguments than the request has: the message of a retry is the same one."""
    if (args is None or tuple(args) == request.args) and (kwargs is None or dict(kwargs) == dict(request.kwargs)):
        return
    raise TypeError(
        f"self.retry(…) of task {name} has other arguments, and a retry is the same message; "
        "publish the next call and return: self.apply_async(args, kwargs, countdown=…)"
    )


@dataclass
class Request(Guessed):
    """Of the task that this thread runs; outside of a worker it has no id."""

    _guesses: ClassVar[Mapping[str, str]] = OF_REQUEST

    id: str | None = None
    retries: int = 0
    """Earlier attempts: those that failed, and those whose worker died."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The arguments; in a worker all of them are here, by their names."""
    is_eager: bool = False
    entering: object = None
    """The task, until a ``__call__`` of its class has called the function."""

    @property
    def called_directly(self) -> bool:
        """Whether the function was called, and no message is handled."""
        return self.id is None


_current: ContextVar[Request | None] = ContextVar("request", default=None)


def current_request() -> Request:
    """The request of this thread."""
    return _current.get() or Request()


@contextmanager
def requested(request: Request) -> Iterator[None]:
    """Run the block as this request."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)
