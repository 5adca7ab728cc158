"""Rules of a ``Limit`` (clause 42) and of token buckets (clauses 17 to 19 of the store contract), without I/O.

Scripts and SQL state them again. Of a rate one number is kept, ``tat``: the time at which all tokens that were handed
out have been made up for. Until then ``(tat - now) * rate`` messages are owed, and the burst may be owed at most. So a
tat in the past means the same as none, and may be forgotten; another burst changes no tat; and none of this ever gives
a second burst.
"""

from __future__ import annotations

from math import floor, inf, nextafter
from sys import maxsize
from typing import NamedTuple

from tasuki.contracts.driver import Limit
from tasuki.contracts.state.store import Grant

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


_TOKEN_ROUNDING = 1e-9
"""Part of a token by which sums of float times may miss a whole one."""


class Bucket(NamedTuple):
    """This many tokens at a time; from then on the bucket fills by ``rate`` a second, up to ``burst``."""

    level: float
    at: float
    rate: float
    burst: int
    top: int = 0
    """The largest burst so far: a bucket that is full for a smaller one is not as good as a new one."""

    def now(self, now: float, rate: float, burst: int) -> Bucket:
        """The bucket at a later time, which fills by other numbers from then on.

        Until now it has filled by the old numbers, and a larger burst begins with the old level: so a
        change never gives a second burst.
        """
        gained = max(now - self.at, 0.0) * self.rate
        level = min(self.level + gained, float(self.burst), float(burst))
        return Bucket(level, max(now, self.at), rate, burst, max(self.top, self.burst, burst))

    @property
    def lasts(self) -> float:
        """Seconds after ``at`` until it is as good as a new one, and may be forgotten."""
        return _seconds(max(self.top, self.burst) - self.level, self.rate)

    @property
    def full_at(self) -> float:
        """When that is."""
        return self.at + self.lasts


def _seconds(tokens: float, rate: float) -> float:
    """How long this many tokens take; a rate of 0 brings none, ever."""
    if tokens <= 0:
        return 0.0
    return tokens / rate if rate > 0 else inf


def at(bucket: Bucket | None, now: float, rate: float, burst: int) -> Bucket:
    """A stored bucket at a later time; None, none is stored: a full one."""
    return Bucket(float(burst), now, rate, burst, burst) if bucket is None else bucket.now(now, rate, burst)


def take(bucket: Bucket, tokens: int) -> tuple[Grant, Bucket]:
    """Up to this many tokens, and the bucket without them."""
    granted = min(max(tokens, 0), floor(bucket.level + _TOKEN_ROUNDING))
    left = bucket._replace(level=max(bucket.level - granted, 0.0))
    return Grant(granted, 0.0 if granted or tokens <= 0 else _seconds(1.0 - bucket.level, bucket.rate)), left


def give(bucket: Bucket, tokens: int) -> Bucket:
    """With tokens that were not used."""
    return bucket._replace(level=min(bucket.level + max(tokens, 0), float(bucket.burst)))
