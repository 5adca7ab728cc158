"""Metrics that handlers make up: a registry that stays small whatever they write into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import NamedTuple

from tasuki.observe.metrics import Histogram

MAX_METRICS = 100
"""Most metrics that one function begins. No bound is for all functions together: none can use up another's."""
MAX_SERIES = 1000
"""Most label sets that one function begins in one metric."""
MAX_SERIES_OF_FUNCTION = 10_000
"""Most label sets that one function begins in all metrics."""
MAX_TEXT = 1000
"""Longest name, label and value of a label, in characters: what is counted stays in memory for good."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_Labels = Mapping[str, str] | None


class Sample(NamedTuple):
    """One series as it is now; ``type`` is counter, gauge or histogram."""

    name: str
    type: str
    labels: Mapping[str, str]
    value: float | Histogram


class _Metric:
    __slots__ = ("begun", "label_names", "series", "type")

    def __init__(self, type: str, label_names: tuple[str, ...]) -> None:  # noqa: A002 - Prometheus's word
        self.type = type
        self.label_names = label_names
        self.series: dict[tuple[str, ...], float | Histogram] = {}
        self.begun: Counter[str] = Counter()
        """Label sets, by the function that began them."""


class CustomMetrics:
    """Counters, gauges and histograms by name and labels.

    A name keeps the type and the label names of its first use. What does not fit, or would be one too many, is counted
    in ``dropped`` and forgotten: an exporter could not show it, and a handler must not fail for it.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._metrics: dict[str, _Metric] = {}
        self._metrics_of: Counter[str] = Counter()
        self._series_of: Counter[str] = Counter()

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

    def _move(self, kind: str, name: str, n: float, labels: _Labels, function: str, *, keep: bool) -> None:
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
            histogram = series.setdefault(key, Histogram(BUCKETS))
            assert isinstance(histogram, Histogram)
            histogram.observe(n)

    def _find(
        self, kind: str, name: str, n: float, labels: _Labels, function: str
    ) -> tuple[dict[tuple[str, ...], float | Histogram], tuple[str, ...]] | None:
        names = tuple(sorted(labels)) if labels else ()
        metric = self._metrics.get(name)
        if not isfinite(n) or _is_long(name, labels):
            self.dropped += 1
            return None
        if metric is None and self._metrics_of[function] < MAX_METRICS:
            metric = self._metrics[name] = _Metric(kind, names)
            self._metrics_of[function] += 1
        if metric is None or metric.type != kind or metric.label_names != names:
            self.dropped += 1
            return None
        key = tuple(labels[label] for label in names) if labels else ()
        if key not in metric.series and not self._may_begin(metric, function):
            self.dropped += 1
            return None
        return metric.series, key

    def _may_begin(self, metric: _Metric, function: str) -> bool:
        """Whether a function may begin a label set, which is then counted for it."""
        if metric.begun[function] >= MAX_SERIES or self._series_of[function] >= MAX_SERIES_OF_FUNCTION:
            return False
        metric.begun[function] += 1
        self._series_of[function] += 1
        return True

    def samples(self) -> Iterator[Sample]:
        """Every series, in the order of first use."""
        for name, metric in self._metrics.items():
            for key, value in metric.series.items():
                yield Sample(name, metric.type, dict(zip(metric.label_names, key, strict=True)), value)


def _is_long(name: str, labels: _Labels) -> bool:
    if len(name) > MAX_TEXT:
        return True
    return labels is not None and any(len(text) > MAX_TEXT for label in labels.items() for text in label)


OF_HANDLERS = CustomMetrics()
"""What the handlers of this process have counted: one for all, as exporters expect it."""
