"""Limits, lanes and other options of a queue, as the columns of its row. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from tasuki.contracts.driver import Limit, QueueSpec
from tasuki.drivers.toolkit.results import in_force as options_in_force

LIMITS = frozenset({"rate", "concurrency"})
_OPTIONS = ("synchronous_commit",)


def columns(spec: QueueSpec) -> tuple[int, list[float | None] | None, list[float | None] | None]:
    """``fair``, and rate, burst and concurrency of the queue and of each lane: what ``declare_queue`` takes."""
    return spec.fair, _column(spec.limit), _column(spec.lane_limit)


def _column(limit: Limit | None) -> list[float | None] | None:
    return None if limit is None else [limit.rate, limit.burst, limit.concurrency]


def in_force(spec: QueueSpec, row: str) -> QueueSpec:
    """The options of a queue, whose row is given as JSON."""
    found = msgspec.json.decode(row)
    own = {name: found[name] for name in _OPTIONS if found[name] is not None}
    others = {name: value for name, value in spec.options.items() if name not in _OPTIONS}
    limit, lane_limit = _limit(found, ""), _limit(found, "lane_")
    spec = replace(spec, fair=found["fair"], limit=limit, lane_limit=lane_limit, options={**others, **own})
    return options_in_force(
        spec,
        float(found["lease"]),
        found["max_length"],
        found["by_key"] or found["by_lane"],
        found["dedup_window"],
        found["temporary"],
    )


def _limit(row: Mapping[str, Any], of: str) -> Limit | None:
    rate, concurrency = row[f"{of}rate"], row[f"{of}concurrency"]
    return None if rate is None and concurrency is None else Limit(rate, row[f"{of}burst"], concurrency)


def frees_others(spec: QueueSpec) -> bool:
    """Whether a settlement may bring another message of the queue forward, or free a place for it."""
    return spec.ordering == "key" or spec.limit is not None or spec.fair > 0
