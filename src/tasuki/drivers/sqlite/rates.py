"""The rule of a rate, kept as one time: ``tat``, when the whole burst will be there again. No I/O.

All times are seconds of one clock; a ``tat`` in the past means that the burst is there.
"""

from __future__ import annotations

from math import floor, inf

from tasuki.contracts.driver import Limit

_ROUNDING = 1e-6
"""Seconds by which sums of times may miss a time: a wall clock of today has steps of 0.24 microseconds as a float."""


def room(limit: Limit, tat: float, now: float) -> float:
    """How many messages may be handed out now."""
    if limit.rate is None:
        return inf
    return max(floor(limit.burst - max(tat - now - _ROUNDING, 0.0) * limit.rate + _ROUNDING), 0)


def next_at(limit: Limit, tat: float) -> float:
    """From when on one may be handed out."""
    return 0.0 if limit.rate is None else tat - (limit.burst - 1) / limit.rate


def spent(limit: Limit, tat: float, now: float, messages: int = 1) -> float:
    """The ``tat`` after so many were handed out; without a rate it stays."""
    return tat if limit.rate is None else max(tat, now) + messages / limit.rate


def returned(limit: Limit, its_tat: float, now: float) -> float:
    """By how much a released message brings the ``tat`` forward: the share that has not come again by itself.

    ``its_tat``: the ``tat`` right after it was handed out.
    """
    return 0.0 if limit.rate is None else min(max(its_tat - now, 0.0), 1 / limit.rate)


def converted(old: Limit, new: Limit, tat: float, now: float) -> float:
    """The ``tat`` after a change of the limit: what is owed stays owed, so a change never gives a second burst."""
    if old.rate is None or new.rate is None:
        return 0.0
    return now + max(tat - now, 0.0) * old.rate / new.rate
