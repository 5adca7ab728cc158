"""How a handler has ended, in one word for its span; pure."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.steps import Suspended


class Ending(NamedTuple):
    """``outcome``: returned, false, retry, reject, snooze, sleep, interrupted or error; whether that is a failure."""

    outcome: str
    has_failed: bool


_SIGNALS: tuple[tuple[type[BaseException], Ending], ...] = (
    (Retry, Ending("retry", False)),
    (Reject, Ending("reject", True)),
    (Snooze, Ending("snooze", False)),
    (Suspended, Ending("sleep", False)),
)


def is_interruption(error: BaseException) -> bool:
    """Whether a handler was ended from outside: its time was over, it was cancelled, or its worker stops."""
    return isinstance(error, Interrupted | asyncio.CancelledError)


def ending_of(result: Any, error: BaseException | None) -> Ending:
    """The ending of a handler that returned, or raised. Its message may be settled in another way already."""
    if error is None:
        return Ending("false", True) if result is False else Ending("returned", False)
    for signal, ending in _SIGNALS:
        if isinstance(error, signal):
            return ending
    return Ending("interrupted" if is_interruption(error) else "error", True)
