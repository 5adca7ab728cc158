"""``self.retry()``: what a bound task raises to run again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tasuki.contracts.handler import Retry
from tasuki.contrib.django.celery.calls.exceptions import MaxRetriesExceededError
from tasuki.contrib.django.celery.calls.request import Request
from tasuki.units import Duration


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
