"""Text: a snapshot as Prometheus reads it, in the text format 0.0.4 or in OpenMetrics 1.0.

Written here and not by a client library: a thousand queues are fifty thousand lines, which take it half a second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import accumulate
from math import isinf, isnan
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from tasuki.observe.exposition.series import BUILD, COUNTER_FIELDS, LABELS, SERIES, MetricNames, Series, escaped
from tasuki.observe.exposition.snapshots import Snapshot

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_MEDIA_TYPE = "application/openmetrics-text"
_KEPT = 20_000
"""Texts of labels and of histograms that are remembered: a thousand queues have five thousand."""

CLASSIC = frozenset({0.004, 0.016, 0.064, 0.25, 1.0, 8.0, 60.0, 900.0})
"""Bounds in seconds of the buckets that are shown unless all are asked for; each is one of a snapshot's."""

_FROM_THE_START = frozenset({"tasuki_messages_delivered_total", "tasuki_messages_dead_lettered_total"})
"""Counters that alerts compare with 0: a first dead letter is no increase of a series that begins at 1."""


def respond(snapshot: Snapshot, accept: str = "", query: str = "") -> tuple[str, bytes]:
    """The answer to a scrape: content type and body.

    Args:
        snapshot: of one process, or a sum.
        accept: the header ``Accept`` of the request; OpenMetrics where it asks for that.
        query: of the request: ``queues=a*`` (a pattern for ids, may be repeated), ``histograms=0``, ``buckets=all``.
    """
    asked = parse_qs(query)
    is_open = wants_open_metrics(accept)
    text = exposition(
        snapshot,
        is_open=is_open,
        queues=asked.get("queues", []),
        has_histograms=asked.get("histograms", ["1"])[-1] not in ("0", "false", "no"),
        has_all_buckets=asked.get("buckets", [""])[-1] == "all",
    )
    return OPEN_METRICS if is_open else PLAIN, text.encode()


def wants_open_metrics(accept: str) -> bool:
    """Whether a client prefers OpenMetrics to the plain format, by an ``Accept`` header."""
    qualities = {"text/plain": 0.0, "*/*": 0.0, _MEDIA_TYPE: 0.0}
    for choice in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in choice.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if media_type in qualities:
            qualities[media_type] = max(quality, qualities[media_type])
    wanted = qualities[_MEDIA_TYPE]
    return wanted > 0 and wanted >= max(qualities["text/plain"], qualities["*/*"])


def exposition(
    snapshot: Snapshot,
    *,
    is_open: bool = False,
    queues: Iterable[str] = (),
    has_histograms: bool = True,
    has_all_buckets: bool = False,
) -> str:
    """The text, with a line end after each line; ``queues``: only those whose id matches one of these patterns.

    A queue or consumer that has counted nothing has its gauges, and of its counters those that alerts compare with 0.
    """
    lines: list[str] = []
    patterns = tuple(queues)
    shown = {part: _shown(part, snapshot.get(part, {}), patterns) for part in LABELS}
    counted = shown | {part: list(filter(_has_counted, shown[part])) for part in ("queues", "consumers")}
    buckets = _buckets(tuple(snapshot.get("bounds", ())), has_all=has_all_buckets)
    for series in SERIES:
        if series.type == "histogram" and not has_histograms:
            continue
        start = len(lines)
        among = shown if series.type == "gauge" or series.name in _FROM_THE_START else counted
        _write[series.type](lines, series, among[series.part], buckets, is_open)
        if len(lines) > start:
            lines[start:start] = _head(series.name, series.type, series.help, is_open=is_open)
    lines += _head(BUILD, "gauge", "The version that runs.", is_open=is_open)
    labels = f'version="{escaped(snapshot.get("version", ""))}",python="{escaped(snapshot.get("python", ""))}"'
    lines.append(f"{BUILD}{{{labels}}} 1")
    names = MetricNames()  # again: the names of two processes may clash
    for name, family in snapshot.get("handlers", {}).items():
        if names.take(name, family["type"]) and (has_histograms or family["type"] != "histogram"):
            lines += _family(name, family, is_open=is_open)
    if is_open:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


Shown = list[tuple[str, Mapping[str, Any]]]
"""The labels of each entity, written, and its fields."""


class Buckets(NamedTuple):
    """The buckets of a histogram that are shown."""

    bounds: tuple[float, ...]
    """The upper bound of each, without the last one, which has none."""
    ends: tuple[int, ...]
    """The number in the snapshot of the last bucket that is part of each."""


def _buckets(bounds: tuple[float, ...], *, has_all: bool = True) -> Buckets:
    ends = [number for number, bound in enumerate(bounds) if has_all or bound in CLASSIC]
    return Buckets(tuple(bounds[number] for number in ends), (*ends, len(bounds)))


def _has_counted(shown: tuple[str, Mapping[str, Any]]) -> bool:
    """Whether a counter or a histogram of the entity is not 0."""
    return any(name in COUNTER_FIELDS and _is_not_zero(value) for name, value in shown[1].items())


def _is_not_zero(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_not_zero, value.values()))
    return any(value) if isinstance(value, list) else bool(value)


def _shown(part: str, entities: Mapping[str, Any], patterns: tuple[str, ...]) -> Shown:
    if part == "process":
        return [("", entities)]
    names = LABELS[part]
    found = []
    for id, entity in entities.items():
        if patterns and names[0] == "queue":
            queue = id if part == "queues" else entity.get("queue", "")
            if not any(fnmatchcase(queue, pattern) for pattern in patterns):
                continue
        found.append((_labels(part, id, entity.get("queue", ""), entity.get("driver", "")), entity))
    return found


@lru_cache(_KEPT)
def _labels(part: str, id: str, queue: str, driver: str) -> str:
    known = {part.removesuffix("s"): id, "driver": driver or id, "queue": queue or id}
    return ",".join([f'{name}="{escaped(known[name])}"' for name in LABELS[part]])


def _simple(lines: list[str], series: Series, shown: Shown, buckets: Buckets, is_open: bool) -> None:
    """The samples of a counter or a gauge; a field that a snapshot does not have is left out."""
    name, field = series.name, series.field
    if not isinstance(field, str):
        further = [(f'{series.label}="{value}"', key) for value, key in field.items()]
        for labels, entity in shown:
            comma = "," if labels else ""
            for label, key in further:
                if (number := entity.get(key)) is not None:
                    lines.append(f"{name}{{{labels}{comma}{label}}} {_text(number)}")
    elif series.label:
        for labels, entity in shown:
            comma = "," if labels else ""
            for label, number in _further(series.label, entity.get(field) or {}):
                lines.append(f"{name}{{{labels}{comma}{label}}} {_text(number)}")
    else:
        for labels, entity in shown:
            if (number := entity.get(field)) is not None:
                lines.append(f"{name}{{{labels}}} {_text(number)}" if labels else f"{name} {_text(number)}")


def _further(names: str, counts: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Labels and numbers of a mapping, or of a mapping of mappings for two labels."""
    first, _, second = names.partition(",")
    for value, number in counts.items():
        label = f'{first}="{escaped(value)}"'
        if second:
            for inner, count in number.items():
                yield f'{label},{second}="{escaped(inner)}"', count
        else:
            yield label, number


def _histograms(lines: list[str], series: Series, shown: Shown, buckets: Buckets, is_open: bool) -> None:
    field = series.field
    assert isinstance(field, str)
    for labels, entity in shown:
        if (histogram := entity.get(field)) is not None and any(histogram["counts"]):
            _histogram(lines, series.name, labels, histogram, buckets, is_open=is_open)


def _histogram(
    lines: list[str], name: str, labels: str, histogram: Mapping[str, Any], buckets: Buckets, *, is_open: bool
) -> None:
    totals = tuple(accumulate(histogram["counts"]))
    ends = [totals[end] for end in buckets.ends]
    text = _template(name, labels, buckets.bounds) % (*ends, totals[-1], _text(histogram["sum"]))
    if is_open and (exemplars := histogram.get("exemplars")):
        text = "\n".join([*_with_exemplars(text.split("\n"), exemplars, buckets.ends)])
    lines.append(text)


def _with_exemplars(lines: Iterable[str], exemplars: Mapping[str, Any], ends: tuple[int, ...]) -> Iterator[str]:
    """``ends``: of a bucket that is shown for several the latest exemplar is taken."""
    found = {
        bisect_left(ends, int(number)): exemplars[number]
        for number in sorted(exemplars, key=lambda number: exemplars[number][2])
    }
    for bucket, line in enumerate(lines):
        if (known := found.get(bucket)) is None:
            yield line
        else:
            trace, seconds, at = known
            yield f'{line} # {{trace_id="{escaped(trace)}"}} {seconds!r} {at!r}'


@lru_cache(_KEPT)
def _template(name: str, labels: str, bounds: tuple[float, ...]) -> str:
    """All lines of a histogram, with places for its numbers: filled in at once, for they are most of the text."""
    comma = "," if labels else ""
    limits = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    own = labels.replace("%", "%%")
    end = f"{{{own}}}" if own else ""
    buckets = [f'{name}_bucket{{{own}{comma}le="{limit}"}} %d' for limit in limits]
    return "\n".join([*buckets, f"{name}_count{end} %d", f"{name}_sum{end} %s"])


_Writer = Callable[[list[str], Series, Shown, Buckets, bool], None]
_write: Mapping[str, _Writer] = {"counter": _simple, "gauge": _simple, "histogram": _histograms}


def _head(name: str, kind: str, told: str, *, is_open: bool) -> list[str]:
    family = name.removesuffix("_total") if is_open and kind == "counter" else name
    return [f"# HELP {family} {told}", f"# TYPE {family} {kind}"]


def _family(name: str, family: Mapping[str, Any], *, is_open: bool) -> list[str]:
    lines = _head(name, family["type"], "Counted by handlers.", is_open=is_open)
    if family["type"] == "histogram":
        buckets = _buckets(tuple(family["bounds"]))
        for labels, histogram in family["series"].items():
            _histogram(lines, name, labels, histogram, buckets, is_open=is_open)
        return lines
    for labels, number in family["series"].items():
        lines.append(f"{name}{{{labels}}} {_text(number)}" if labels else f"{name} {_text(number)}")
    return lines


def _text(number: float) -> str:
    if isinstance(number, float):
        if isnan(number):
            return "NaN"
        if isinf(number):
            return "+Inf" if number > 0 else "-Inf"
    return repr(number)
