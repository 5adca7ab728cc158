"""Limits and lanes of a queue, as the columns of its row. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tasuki.contracts.driver import Limit, QueueSpec

LIMITS = frozenset({"rate", "concurrency"})


def columns(spec: QueueSpec) -> tuple[int, list[float | None] | None, list[float | None] | None]:
    """``fair``, and rate, burst and concurrency of the queue and of each lane: what ``declare_queue`` takes."""
    return spec.fair, _column(spec.limit), _column(spec.lane_limit)


def _column(limit: Limit | None) -> list[float | None] | None:
    return None if limit is None else [limit.rate, limit.burst, limit.concurrency]


def in_force(row: str) -> Mapping[str, Any]:
    """``fair``, ``limit`` and ``lane_limit`` of a queue, whose row is given as JSON; a row of layout 18 has none."""
    found = msgspec.json.decode(row)
    return {"fair": found.get("fair", 0), "limit": _limit(found, ""), "lane_limit": _limit(found, "lane_")}


def _limit(row: Mapping[str, Any], of: str) -> Limit | None:
    rate, concurrency = row.get(f"{of}rate"), row.get(f"{of}concurrency")
    return None if rate is None and concurrency is None else Limit(rate, row[f"{of}burst"], concurrency)


def frees_others(spec: QueueSpec) -> bool:
    """Whether a settlement may bring another message of the queue forward, or free a place for it."""
    return spec.ordering == "key" or spec.limit is not None or spec.fair > 0
