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
from operator import add as plus
from typing import Any

from tasuki.observe.exposition.series import COUNTER_FIELDS

Snapshot = dict[str, Any]

PARTS = ("queues", "consumers", "drivers", "schedules")

_GREATEST = frozenset({
    "at", "ready", "in_flight", "delayed", "oldest_age", "paused", "consumers", "is_dead_letter", "last_success",
    "loop_lag",
})  # fmt: skip
"""Gauges that several processes read from one place, or whose worst value counts."""
_LEAST = frozenset({"up", "start_time"})
_BY_NAME = frozenset({"errors", "dead", "acts", "series"})
"""Numbers whose names are not ours."""

_Join = Callable[[float, float], float]
_SPECIAL: Mapping[str, _Join] = {**dict.fromkeys(_GREATEST, max), **dict.fromkeys(_LEAST, min)}
_NOTHING: Mapping[str, _Join] = {}


def add(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The metrics of all these processes together; the snapshots stay as they are."""
    total: Snapshot = {}
    for snapshot in snapshots:
        _add_into(total, snapshot, _SPECIAL)
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


def _add_into(total: dict[str, Any], more: Mapping[str, Any], special: Mapping[str, _Join]) -> None:
    """``special``: how the numbers of these names are joined; all others are added."""
    for name, value in more.items():
        mine, kind = total.get(name), type(value)
        if kind is int or kind is float:
            if mine is None:
                total[name] = value
            elif name in special:
                total[name] = special[name](mine, value)
            else:
                total[name] = mine + value
        elif kind is dict:
            if mine is None:
                mine = total[name] = {}
            _add_dict(name, mine, value, special)
        elif mine is None:
            total[name] = list(value) if kind is list else value
        elif name == "counts" and len(mine) == len(value):
            total[name] = list(map(plus, mine, value))


def _add_dict(name: str, mine: Any, more: Mapping[str, Any], special: Mapping[str, _Join]) -> None:
    if name == "exemplars" and "type" not in more:  # else a handler's metric of that name
        mine.update(more)
    elif type(mine) is dict and mine.get("type", more.get("type")) == more.get("type"):
        _add_into(mine, more, _NOTHING if name in _BY_NAME else special)
    # else a handler's metric that another process counts as another type
