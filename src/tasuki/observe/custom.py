"""Metrics that handlers define, in a registry of bounded size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, NamedTuple

from tasuki.observe.metrics import Histogram

MAX_METRICS = 100
"""Most metrics of one function. There is no common bound, so that no function can use up another's."""
MAX_SERIES = 1000
"""Most label sets of one metric of a function."""
MAX_SERIES_OF_FUNCTION = 10_000
"""Most label sets of all metrics of a function."""
MAX_TEXT = 1000
"""Longest name, label and value of a label, in characters: every series stays in memory until the process ends."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Follow = Callable[[str, Mapping[str, str], Histogram], object]
"""See :meth:`CustomMetrics.follow`."""
_Labels = Mapping[str, str] | None
_Series = dict[tuple[str, ...], float | Histogram]
_Type = Literal["counter", "gauge", "histogram"]


class Sample(NamedTuple):
    """The present state of one series; ``function`` is the id of the function entry that counts it."""

    function: str
    name: str
    type: _Type
    labels: Mapping[str, str]
    value: float | Histogram


@dataclass(slots=True)
class _Metric:
    type: _Type
    label_names: tuple[str, ...]
    series: _Series = field(default_factory=dict)


@dataclass(slots=True)
class _FunctionMetrics:
    """The metrics of one function, by name."""

    _metrics: dict[str, _Metric] = field(default_factory=dict)
    _series_count: int = 0

    def find(self, kind: _Type, name: str, labels: _Labels) -> tuple[_Series, tuple[str, ...]] | None:
        """The metric's series and the key of the label set, or None if they do not fit or exceed the bounds."""
        label_names = tuple(sorted(labels)) if labels else ()
        metric = self._metrics.get(name)
        if metric is None:
            if len(self._metrics) >= MAX_METRICS:
                return None
            metric = self._metrics[name] = _Metric(kind, label_names)
        if metric.type != kind or metric.label_names != label_names:
            return None
        key = tuple(labels[label] for label in label_names) if labels else ()
        if key not in metric.series:
            if len(metric.series) >= MAX_SERIES or self._series_count >= MAX_SERIES_OF_FUNCTION:
                return None
            self._series_count += 1
        return metric.series, key

    def samples(self, function: str) -> Iterator[Sample]:
        """Every series, in the order of first use."""
        for name, metric in self._metrics.items():
            for key, value in metric.series.items():
                labels = dict(zip(metric.label_names, key, strict=True))
                yield Sample(function, name, metric.type, labels, value)


class CustomMetrics:
    """Counters, gauges and histograms by function, name and labels.

    A name belongs to the function that uses it: another function's metric of that name is another metric, whose type
    and labels are its own. Within a function a name keeps the type and the label names of its first use. What does not
    fit, or would be one too many, is counted in ``dropped`` and forgotten: an exporter could not show it, and a handler
    must not fail for it.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._follow: Follow | None = None
        self._functions: dict[str, _FunctionMetrics] = {}

    def count(self, name: str, n: float = 1, labels: _Labels = None, function: str = "") -> None:
        """Raise a counter; a negative number is dropped. ``function``: id of whose metric it is, here and below."""
        if n < 0:
            self.dropped += 1
        else:
            self._move("counter", name, n, labels, function, keep=True)

    def set(self, name: str, n: float, labels: _Labels = None, function: str = "") -> None:
        """Give a gauge a value."""
        self._move("gauge", name, n, labels, function, keep=False)

    def add(self, name: str, n: float, labels: _Labels = None, function: str = "") -> None:
        """Move a gauge by a number."""
        self._move("gauge", name, n, labels, function, keep=True)

    def _move(self, kind: _Type, name: str, n: float, labels: _Labels, function: str, *, keep: bool) -> None:
        found = self._find(kind, name, n, labels, function)
        if found is not None:
            series, key = found
            old = series.get(key, 0.0)
            assert not isinstance(old, Histogram)
            series[key] = old + n if keep else n

    def observe(self, name: str, n: float, labels: _Labels = None, function: str = "") -> None:
        """Count a value in a histogram."""
        found = self._find("histogram", name, n, labels, function)
        if found is not None:
            series, key = found
            histogram = series.get(key)
            if histogram is None:
                histogram = series[key] = Histogram(BUCKETS)
                if self._follow is not None:
                    self._follow(name, labels or {}, histogram)
            assert isinstance(histogram, Histogram)
            histogram.observe(n)

    def follow(self, bind: Follow) -> None:
        """Have ``bind`` called with name, labels and object of each histogram, before its first value is counted.

        Those that are there already are given now; only the last one who follows is called from then on.
        """
        self._follow = bind
        for sample in list(self.samples()):
            if isinstance(sample.value, Histogram):
                bind(sample.name, sample.labels, sample.value)

    def _find(
        self, kind: _Type, name: str, n: float, labels: _Labels, function: str
    ) -> tuple[_Series, tuple[str, ...]] | None:
        found = None
        if isfinite(n) and not _is_long(name, labels):
            metrics = self._functions.get(function)
            if metrics is None:
                metrics = self._functions[function] = _FunctionMetrics()
            found = metrics.find(kind, name, labels)
        if found is None:
            self.dropped += 1
        return found

    def samples(self) -> Iterator[Sample]:
        """Every series; the functions take turns, so that a part of them shows something of each function."""
        turns = deque(metrics.samples(function) for function, metrics in self._functions.items())
        while turns:
            samples = turns.popleft()
            if (sample := next(samples, None)) is not None:
                yield sample
                turns.append(samples)


def _is_long(name: str, labels: _Labels) -> bool:
    if len(name) > MAX_TEXT:
        return True
    return labels is not None and any(len(text) > MAX_TEXT for label in labels.items() for text in label)


OF_HANDLERS = CustomMetrics()
"""The metrics of all handlers of this process: a single registry, as exporters expect it."""


def record(verb: str, function: str, name: str, n: float, labels: _Labels = None) -> None:
    """Count a number in a metric of a function; one of another type than it must have is dropped."""
    verbs = {"count": OF_HANDLERS.count, "set": OF_HANDLERS.set, "add": OF_HANDLERS.add, "observe": OF_HANDLERS.observe}
    try:
        verbs[verb](str(name), float(n), None if labels is None else _texts(labels), function)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        OF_HANDLERS.dropped += 1


def _texts(labels: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in labels.items()}
