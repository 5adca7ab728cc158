"""Tracebacks for logs: the frames of the user's own code, without the frames of this package around them."""

from __future__ import annotations

import logging
import os
import traceback
from types import TracebackType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OURS = logging.getLogger("tasuki")


def format_error(type_: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> str:
    """The text of a traceback, as Python writes it, without line end.

    An error that has frames of other code shows only these. All frames stay where every one is this package's, or where
    the log level is DEBUG.
    """
    whole = traceback.TracebackException(type_, error, trace)  # type: ignore[arg-type]
    if not _OURS.isEnabledFor(logging.DEBUG):
        _shorten(whole)
    return "".join(whole.format()).rstrip("\n")


def _shorten(error: traceback.TracebackException | None) -> None:
    if error is None:
        return
    theirs = [frame for frame in error.stack if not frame.filename.startswith(_PACKAGE)]
    if theirs:
        error.stack = traceback.StackSummary.from_list(theirs)
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        _shorten(other)
