"""Long runs: detect a handler without ``handler_timeout`` that runs unusually long for its consumer; no I/O."""

from __future__ import annotations

from typing import NamedTuple

from tasuki.observe.exposition.snapshots import quantile
from tasuki.observe.metrics import Histogram

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
