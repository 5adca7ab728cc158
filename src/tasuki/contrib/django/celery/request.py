"""The request: what a running task knows about its message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """Of the task that this thread runs; outside of a worker it has no id."""

    id: str | None = None
    retries: int = 0
    """Earlier attempts: those that failed, and those whose worker died."""
    headers: Mapping[str, Any] = field(default_factory=dict)


OUTSIDE = Request()
_current: ContextVar[Request] = ContextVar("request", default=OUTSIDE)


def current_request() -> Request:
    """The request of this thread."""
    return _current.get()


@contextmanager
def requested(request: Request) -> Iterator[None]:
    """Run the block as this request."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)
