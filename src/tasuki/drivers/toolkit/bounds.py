"""Bounds that every driver keeps for callers without the framework."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import inf

from tasuki.contracts.driver import Outgoing, Unique
from tasuki.errors import UnsupportedError

MAX_PRIORITY = 9


def check_bounds(batch: Iterable[Outgoing], *, driver: str, queue: str, unique: Collection[str] = ()) -> bool:
    """Refuse what no broker can keep (clause 32), and what this one cannot (39); returns whether a message is unique.

    ``unique``: the spans and acts that the driver knows.

    Raises:
        UnsupportedError: a delay is negative, infinite or no number, a priority is not in 0 to 9, or a message is
            unique in a way that the driver does not know; nothing is stored.
    """
    is_any_unique = False
    for message in batch:
        if message.unique is not None:
            is_any_unique = True
            _check_unique(message.id, message.unique, unique, driver=driver, queue=queue)
        if (message.delay or message.priority) and (problem := _problem_of(message)):
            raise UnsupportedError(f"message {message.id!r}: {problem}", driver=driver, queue=queue)
    return is_any_unique


def _check_unique(id: str, unique: Unique, known: Collection[str], *, driver: str, queue: str) -> None:
    if not isinstance(unique.span, str) and not 0 < unique.span < inf:
        problem = f"its window is {unique.span} seconds; give more than 0, and a finite number"
    elif not 0 <= unique.latest < inf:
        problem = f"latest is {unique.latest} seconds; give 0 or more, and a finite number"
    elif missing := [need for need in unique.needs if need not in known]:
        problem = f"the driver does not keep messages unique by {' and '.join(missing)}"
    else:
        return
    raise UnsupportedError(f"message {id!r}: {problem}", driver=driver, queue=queue)


def _problem_of(message: Outgoing) -> str:
    if not 0 <= message.delay < inf:
        return f"the delay is {message.delay} seconds; give 0 or more, and a finite number"
    if not 0 <= message.priority <= MAX_PRIORITY:
        return f"the priority is {message.priority}; give 0 to {MAX_PRIORITY}"
    return ""
