"""Snapshots: the metrics of a process, or of several, as plain data. Adding them is pure.

A snapshot is made of dicts with text keys, lists, numbers and texts, so that msgpack and JSON carry it:

- ``version``, ``python``: texts; ``born``: the process that it is of, empty for a sum; ``at``: Unix seconds;
- ``bounds``: the upper bounds of the histograms below, in seconds;
- ``queues``, ``consumers``, ``drivers``, ``schedules``: by id, the texts ``queue`` and ``driver`` where they have one,
  and numbers; ``errors`` and ``dead`` count by name; a histogram is ``{counts, sum}``, with one count more than bounds,
  and may have ``exemplars``;
- ``process``: numbers of the process itself;
- ``handlers``: the metrics of handlers by name, ``{type, bounds, series}``; ``series`` has a number or a histogram by
  labels, as Prometheus writes them (``country="jp",kind="new"``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tasuki.observe.exposition.series import COUNTER_FIELDS

Snapshot = dict[str, Any]

PARTS = ("queues", "consumers", "drivers", "schedules")

_GREATEST = frozenset(
    {"at", "ready", "in_flight", "delayed", "oldest_age", "paused", "consumers", "last_success", "loop_lag"}
)
"""Gauges that several processes read from one place, or whose worst value counts."""
_LEAST = frozenset({"up", "start_time"})
_BY_NAME = frozenset({"errors", "dead", "acts", "series"})
"""Numbers whose names are not ours."""

_Join = Callable[[str, float, float], float]


def add(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The metrics of all these processes together; the snapshots stay as they are."""
    total: Snapshot = {}
    for snapshot in snapshots:
        _add_into(total, snapshot, _joined)
    if total:
        total["born"] = ""
    return total


def totals_of(snapshot: Snapshot) -> Snapshot:
    """What stays of a process that has ended: its counters, but not its gauges."""
    kept: Snapshot = {
        name: snapshot[name] for name in ("version", "python", "born", "at", "bounds") if name in snapshot
    }
    for part in PARTS:
        kept[part] = {id: _counters_of(entity) for id, entity in snapshot.get(part, {}).items()}
    kept["process"] = _counters_of(snapshot.get("process", {}))
    kept["handlers"] = {name: one for name, one in snapshot.get("handlers", {}).items() if one["type"] != "gauge"}
    return kept


def _counters_of(entity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entity.items() if isinstance(value, str) or name in COUNTER_FIELDS}


def _add_into(total: dict[str, Any], more: Mapping[str, Any], join: _Join) -> None:
    for name, value in more.items():
        mine = total.get(name)
        if isinstance(value, dict):
            if mine is None:
                mine = total[name] = {}
            if not isinstance(mine, dict) or mine.get("type") != value.get("type", mine.get("type")):
                continue  # a handler's metric that another process counts as another type
            if name == "exemplars":
                mine.update(value)
            else:
                _add_into(mine, value, _sum if name in _BY_NAME else join)
        elif mine is None:
            total[name] = list(value) if isinstance(value, list) else value
        elif isinstance(value, list):
            if name == "counts" and len(mine) == len(value):
                total[name] = [a + b for a, b in zip(mine, value, strict=True)]
        elif not isinstance(value, str):
            total[name] = join(name, mine, value)


def _sum(name: str, one: float, other: float) -> float:
    return one + other


def _joined(name: str, one: float, other: float) -> float:
    if name in _GREATEST:
        return max(one, other)
    return min(one, other) if name in _LEAST else one + other


def quantile(bounds: list[float], counts: list[int], share: float) -> float | None:
    """The value below which this share of the counted values lies, within its bucket in proportion; None: no value.

    A value beyond the last bound counts as that bound.
    """
    wanted, below = sum(counts) * share, 0
    if not any(counts):
        return None
    for number, (bound, count) in enumerate(zip(bounds, counts, strict=False)):
        if count and below + count >= wanted:
            least = bounds[number - 1] if number else 0.0
            return least + (bound - least) * (wanted - below) / count
        below += count
    return bounds[-1]
