"""The place in the user's code that calls this package, for errors about what it declares."""

from __future__ import annotations

import sys

from tasuki.errors import Position


def caller(of: object = None) -> Position:
    """The nearest line outside this package, and outside the methods of the object ``of``."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to find the caller
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "").startswith("tasuki.")
        or (of is not None and frame.f_locals.get("self") is of)
    ):
        frame = frame.f_back
    return Position(frame.f_code.co_filename, frame.f_lineno)
