"""Limiting: whether a queue's limit is kept by its driver or its workers."""

from __future__ import annotations

from tasuki.contracts.driver import Capabilities, Limit
from tasuki.kinds.entries.messages.limits import limit_of_lanes, whole_limit
from tasuki.kinds.entries.queue import QueueConfig


def limit_of_driver(config: QueueConfig, capabilities: Capabilities | None) -> Limit | None:
    """The limit over the whole queue, if its driver keeps limits, as it does without ``capabilities``."""
    return _whole(config) if capabilities is None or capabilities.has("limits") else None


def limit_of_workers(config: QueueConfig, capabilities: Capabilities | None) -> Limit | None:
    """The limit over the whole queue, if its driver keeps none."""
    return None if limit_of_driver(config, capabilities) else _whole(config)


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
