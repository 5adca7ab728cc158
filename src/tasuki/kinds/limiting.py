"""Limiting: divides a queue's limit between its driver and its workers."""

from __future__ import annotations

from dataclasses import replace

from tasuki.contracts.driver import Capabilities, Limit
from tasuki.kinds.entries.messages.limits import limit_of_lanes, whole_limit
from tasuki.kinds.entries.queue import QueueConfig


def limit_of_driver(config: QueueConfig, capabilities: Capabilities | None) -> Limit | None:
    """The limit over the whole queue, as far as its driver keeps it; without ``capabilities``: all of it."""
    limit = _whole(config)
    if limit is None or capabilities is None:
        return limit
    rate = limit.rate if "rate" in capabilities.limits else None
    places = limit.concurrency if "concurrency" in capabilities.limits else None
    return _some(Limit(rate, limit.burst if rate is not None else 1, places))


def limit_of_workers(config: QueueConfig, capabilities: Capabilities | None) -> Limit | None:
    """The rest of it."""
    limit, kept = _whole(config), limit_of_driver(config, capabilities)
    if limit is None or kept is None:
        return limit
    rest = replace(
        limit,
        rate=None if kept.rate is not None else limit.rate,
        burst=1 if kept.rate is not None else limit.burst,
        concurrency=None if kept.concurrency is not None else limit.concurrency,
    )
    return _some(rest)


def lane_limit_of(config: QueueConfig) -> Limit | None:
    """The limit of each lane alone, which no worker could keep."""
    return None if (limit := limit_of_lanes(config.limit)) is None else limit.limit()


def turn_of(config: QueueConfig) -> int:
    """Most messages of a lane in its turn; 0: the queue has no lanes."""
    if config.fair is not None:
        return config.fair.share
    return int(config.lane_rule is not None)


def _whole(config: QueueConfig) -> Limit | None:
    return None if (limit := whole_limit(config.limit)) is None else limit.limit()


def _some(limit: Limit) -> Limit | None:
    return None if limit.rate is None and limit.concurrency is None else limit
