"""Bounds that every driver keeps for callers without the framework."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from tasuki.contracts.driver import Outgoing
from tasuki.errors import UnsupportedError

MAX_PRIORITY = 9


def check_bounds(batch: Iterable[Outgoing], *, driver: str, queue: str) -> None:
    """Refuse what no broker can keep (clause 32).

    Raises:
        UnsupportedError: a delay is negative, infinite or no number, or a priority is not in 0 to 9; nothing is stored.
    """
    for message in batch:
        if (message.delay or message.priority) and (problem := _problem_of(message)):
            raise UnsupportedError(f"message {message.id!r}: {problem}", driver=driver, queue=queue)


def _problem_of(message: Outgoing) -> str:
    if not 0 <= message.delay < inf:
        return f"the delay is {message.delay} seconds; give 0 or more, and a finite number"
    if not 0 <= message.priority <= MAX_PRIORITY:
        return f"the priority is {message.priority}; give 0 to {MAX_PRIORITY}"
    return ""
