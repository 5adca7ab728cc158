"""What a ``Limit`` allows (clause 42): rules without I/O. Scripts and SQL state them again.

Of a rate one number is kept, ``tat``: the time at which all that was handed out has been made up for. Until then
``(tat - now) * rate`` messages are owed, and the burst may be owed at most. So a tat that lies behind means the same as
none, and may be forgotten; another burst changes no tat; and none of this ever gives a second burst.
"""

from __future__ import annotations

from math import floor, inf, nextafter
from sys import maxsize

from tasuki.contracts.driver import Limit

NONE = Limit()
_ROUNDING = 1e-6
"""Part of a message by which sums of float times may miss a whole one."""


def room(limit: Limit, tat: float, now: float, held: int) -> int:
    """How many messages may be handed out now, beside this many held ones."""
    places = maxsize if limit.concurrency is None else max(limit.concurrency - held, 0)
    if limit.rate is None:
        return places
    return min(places, max(floor(limit.burst - _owed(limit.rate, tat, now) + _ROUNDING), 0))


def opens_at(limit: Limit, tat: float, now: float, held: int) -> float:
    """When there is room again: ``now``, a later time, or never by itself (inf), as a place must become free."""
    if limit.concurrency is not None and held >= limit.concurrency:
        return inf
    if limit.rate is None or room(limit, tat, now, held):
        return now
    return max(tat - (limit.burst - 1) / limit.rate, nextafter(now, inf))


def spent(limit: Limit, tat: float, now: float, number: int) -> float:
    """The tat after this many messages were handed out."""
    return tat if limit.rate is None or not number else max(tat, now) + number / limit.rate


def given_back(limit: Limit, tat: float) -> float:
    """The tat after a message was released that never began."""
    return tat if limit.rate is None else tat - 1 / limit.rate


def changed(old: Limit, new: Limit, tat: float, now: float) -> float:
    """The tat under another limit: as many messages are owed as before."""
    if old.rate is None or new.rate is None:
        return -inf
    return tat if old.rate == new.rate or tat <= now else now + (tat - now) * old.rate / new.rate


def _owed(rate: float, tat: float, now: float) -> float:
    return max(tat - now, 0.0) * rate
