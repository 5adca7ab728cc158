"""Long runs: detect a handler without ``handler_timeout`` that runs unusually long for its consumer; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from tasuki.observe.exposition.snapshots import quantile
from tasuki.observe.metrics import Histogram

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import Worker

LEAST = 300.0
"""Seconds that no handler has exceeded before it counts."""
FACTOR = 10.0
"""How many times the 95th percentile of the consumer it must exceed."""
_SHARE = 0.95


class LongRun(NamedTuple):
    """The seconds for which a handler has run, and the bound that it has exceeded."""

    seconds: float
    bound: float


def bound_of(runs: Histogram) -> float:
    """Seconds after which a run of this consumer is long; ``runs``: its handlers that have ended."""
    usual = quantile(list(runs.bounds), list(runs.counts), _SHARE)
    return max(FACTOR * (usual or 0.0), LEAST)


def long_runs(workers: Iterable[Worker], runs: Histogram, now: float) -> dict[Delivery, LongRun]:
    """The handlers without ``handler_timeout`` that have run for long. ``now``: of the clock of the consumer."""
    busy = [(worker.delivery, now - worker.started, worker.limit) for worker in workers]
    old = {each: seconds for each, seconds, limit in busy if each is not None and limit is None and seconds > LEAST}
    bound = bound_of(runs) if old else 0.0
    return {delivery: LongRun(seconds, bound) for delivery, seconds in old.items() if seconds > bound}
