"""Results: what a batch handler returned, as one result for each message; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasuki.errors import HandlerError, ResultError


def results_of(result: Any, count: int) -> Sequence[Any]:
    """One result for each of ``count`` messages, in their order; an exception is the failure of its message.

    None is a success of all, False a failure of all. Anything else but a list or tuple is a success too, but no message
    can be answered with it.

    Raises:
        HandlerError: a list of another length; nothing says then which result belongs to which message.
    """
    if isinstance(result, list | tuple):
        if len(result) != count:
            raise HandlerError(
                f"the handler returned a list of {len(result)} for a batch of {count}: return one result or exception "
                "for each message, in the order of the bodies, or nothing",
                kind="Invalid",
            )
        return result
    if result is None or result is False:
        return [result] * count
    return [ResultError(f"the batch handler returned {type(result).__name__}, not a list of one result each")] * count
