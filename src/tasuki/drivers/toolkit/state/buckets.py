"""The rule of token buckets (clauses 17 to 19 of the store contract); no I/O. Scripts and SQL state it again."""

from __future__ import annotations

from math import floor, inf
from typing import NamedTuple

from tasuki.contracts.state.store import Grant

_ROUNDING = 1e-9
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
    granted = min(max(tokens, 0), floor(bucket.level + _ROUNDING))
    left = bucket._replace(level=max(bucket.level - granted, 0.0))
    return Grant(granted, 0.0 if granted or tokens <= 0 else _seconds(1.0 - bucket.level, bucket.rate)), left


def give(bucket: Bucket, tokens: int) -> Bucket:
    """With tokens that were not used."""
    return bucket._replace(level=min(bucket.level + max(tokens, 0), float(bucket.burst)))
