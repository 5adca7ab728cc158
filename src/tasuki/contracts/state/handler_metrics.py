"""HandlerMetrics: counters, gauges and histograms that a Python handler defines by using them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

Verb = Literal["count", "set", "add", "observe"]

Labels = Mapping[str, str] | None


class Measure(Protocol):
    """Takes one number of a function; see :class:`tasuki.observe.custom.CustomMetrics`."""

    def __call__(self, verb: Verb, function: str, name: str, n: float, labels: Labels) -> Any: ...  # noqa: D102


class HandlerMetrics:
    """The metrics of one function. Series beyond its limits are dropped and counted: no handler fails.

    A name keeps the type and the label names of its first use. It begins with no ``tasuki_``; a counter is exported
    with ``_total`` at its end, and characters that Prometheus does not allow as ``_``. Every label set is kept in
    memory, so its values must be few: no ids.
    """

    __slots__ = ("_function", "_measure")

    def __init__(self, function: str, measure: Measure) -> None:
        self._function = function
        self._measure = measure

    def count(self, name: str, n: float = 1, labels: Labels = None) -> None:
        """Raise a counter."""
        self._measure("count", self._function, name, n, labels)

    def set(self, name: str, n: float, labels: Labels = None) -> None:
        """Give a gauge a value. Over several processes it is the sum of theirs."""
        self._measure("set", self._function, name, n, labels)

    def add(self, name: str, n: float, labels: Labels = None) -> None:
        """Move a gauge by a number."""
        self._measure("add", self._function, name, n, labels)

    def observe(self, name: str, n: float, labels: Labels = None) -> None:
        """Count a value, such as seconds, in a histogram with buckets from 0.005 to 10."""
        self._measure("observe", self._function, name, n, labels)
