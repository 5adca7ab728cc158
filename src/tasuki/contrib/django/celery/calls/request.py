"""The request: what a running task knows about its message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tasuki.app.guesses import Guessed
from tasuki.contrib.django.celery.names import OF_REQUEST


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
