"""The place in the user's code that calls this package, for errors about what it declares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tasuki.errors import Position

_place: ContextVar[Position | None] = ContextVar("tasuki_place", default=None)


@contextmanager
def declared_at(place: Position) -> Iterator[None]:
    """Give all that is declared within the block this place, such as a file of settings."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def caller(of: object = None) -> Position:
    """The nearest line outside this package, and outside the methods of the object ``of``.

    Within ``declared_at`` it is the place that this gives.
    """
    if (place := _place.get()) is not None:
        return place
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to find the caller
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "").startswith("tasuki.")
        or (of is not None and frame.f_locals.get("self") is of)
    ):
        frame = frame.f_back
    return Position(frame.f_code.co_filename, frame.f_lineno)
