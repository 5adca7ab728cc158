"""Text: a snapshot as Prometheus reads it, in the text format 0.0.4 or in OpenMetrics 1.0.

Written here and not by a client library: a thousand queues are fifty thousand lines, which take it half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import accumulate
from math import isinf, isnan
from typing import Any
from urllib.parse import parse_qs

from tasuki.observe.exposition.series import BUILD, LABELS, SERIES, Names, Series, escaped
from tasuki.observe.exposition.snapshots import Snapshot

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_MEDIA_TYPE = "application/openmetrics-text"
_KEPT = 20_000
"""Texts of labels and of histograms that are remembered: a thousand queues have five thousand."""


def respond(snapshot: Snapshot, accept: str = "", query: str = "") -> tuple[str, bytes]:
    """The answer to a scrape: content type and body.

    Args:
        snapshot: of one process, or a sum.
        accept: the header ``Accept`` of the request; OpenMetrics where it asks for that.
        query: of the request: ``queues=a*`` (a pattern for ids, may be repeated) and ``histograms=0``.
    """
    asked = parse_qs(query)
    is_open = wants_open_metrics(accept)
    text = exposition(
        snapshot,
        is_open=is_open,
        queues=asked.get("queues", []),
        has_histograms=asked.get("histograms", ["1"])[-1] not in ("0", "false", "no"),
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
    snapshot: Snapshot, *, is_open: bool = False, queues: Iterable[str] = (), has_histograms: bool = True
) -> str:
    """The text, with a line end after each line; ``queues``: only those whose id matches one of these patterns."""
    lines: list[str] = []
    patterns = tuple(queues)
    shown = {part: _shown(part, snapshot.get(part, {}), patterns) for part in LABELS}
    bounds = tuple(snapshot.get("bounds", ()))
    for series in SERIES:
        if series.type == "histogram" and not has_histograms:
            continue
        start = len(lines)
        _write[series.type](lines, series, shown[series.part], bounds, is_open)
        if len(lines) > start:
            lines[start:start] = _head(series.name, series.type, series.help, is_open=is_open)
    lines += _head(BUILD, "gauge", "The version that runs.", is_open=is_open)
    labels = f'version="{escaped(snapshot.get("version", ""))}",python="{escaped(snapshot.get("python", ""))}"'
    lines.append(f"{BUILD}{{{labels}}} 1")
    names = Names()  # again: the names of two processes may clash
    for name, family in snapshot.get("handlers", {}).items():
        if names.take(name, family["type"]) and (has_histograms or family["type"] != "histogram"):
            lines += _family(name, family, is_open=is_open)
    if is_open:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


Shown = list[tuple[str, Mapping[str, Any]]]
"""The labels of each entity, written, and its fields."""


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


def _simple(lines: list[str], series: Series, shown: Shown, bounds: tuple[float, ...], is_open: bool) -> None:
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


def _histograms(lines: list[str], series: Series, shown: Shown, bounds: tuple[float, ...], is_open: bool) -> None:
    field = series.field
    assert isinstance(field, str)
    for labels, entity in shown:
        if (histogram := entity.get(field)) is not None:
            _histogram(lines, series.name, labels, histogram, bounds, is_open=is_open)


def _histogram(
    lines: list[str], name: str, labels: str, histogram: Mapping[str, Any], bounds: tuple[float, ...], *, is_open: bool
) -> None:
    totals = tuple(accumulate(histogram["counts"]))
    text = _template(name, labels, bounds) % (*totals, totals[-1], _text(histogram["sum"]))
    if is_open and (exemplars := histogram.get("exemplars")):
        text = "\n".join([*_with_exemplars(text.split("\n"), exemplars)])
    lines.append(text)


def _with_exemplars(lines: Iterable[str], exemplars: Mapping[str, Any]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if (known := exemplars.get(str(number))) is None:
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


_Writer = Callable[[list[str], Series, Shown, tuple[float, ...], bool], None]
_write: Mapping[str, _Writer] = {"counter": _simple, "gauge": _simple, "histogram": _histograms}


def _head(name: str, kind: str, told: str, *, is_open: bool) -> list[str]:
    family = name.removesuffix("_total") if is_open and kind == "counter" else name
    return [f"# HELP {family} {told}", f"# TYPE {family} {kind}"]


def _family(name: str, family: Mapping[str, Any], *, is_open: bool) -> list[str]:
    lines = _head(name, family["type"], "Counted by handlers.", is_open=is_open)
    if family["type"] == "histogram":
        bounds = tuple(family["bounds"])
        for labels, histogram in family["series"].items():
            _histogram(lines, name, labels, histogram, bounds, is_open=is_open)
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
