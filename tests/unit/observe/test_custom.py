"""Metrics of handlers stay few whatever is written."""

from __future__ import annotations

import pytest

from tasuki.observe import custom
from tasuki.observe.custom import CustomMetrics


def test_metrics_and_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom, "MAX_METRICS", 3)
    monkeypatch.setattr(custom, "MAX_SERIES", 4)
    registry = CustomMetrics()
    for number in range(10):
        registry.count(f"n{number}")
        registry.set("n0", 1)
        registry.count("n1", labels={"id": str(number)})
    for number in range(10):
        registry.observe("n2", number)
    assert len({sample.name for sample in registry.samples()}) == 3
    registry = CustomMetrics()
    for number in range(10):
        registry.count("by_id", labels={"id": str(number)})
        registry.count("by_id", labels={"id": "0"})
    first = next(registry.samples())
    assert (first.labels, first.value) == ({"id": "0"}, 11)
    assert len(list(registry.samples())) == 4
    assert registry.dropped == 6


def test_the_order_of_labels_does_not_matter() -> None:
    registry = CustomMetrics()
    registry.add("g", 2, {"a": "1", "b": "2"})
    registry.add("g", -5, {"b": "2", "a": "1"})
    assert [(s.type, s.labels, s.value) for s in registry.samples()] == [("gauge", {"a": "1", "b": "2"}, -3)]


def test_what_one_function_makes_up_leaves_room_for_others() -> None:
    registry = CustomMetrics()
    for number in range(1000):
        registry.count(f"junk{number}", function="app:junk")
    registry.count("orders", function="app:shop")
    registry.count("junk1", function="app:shop")
    names = [sample.name for sample in registry.samples()]
    assert len(names) == custom.MAX_OF_FUNCTION + 1
    assert "orders" in names
