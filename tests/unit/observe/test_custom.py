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
    assert len(list(registry.samples())) == custom.MAX_METRICS + 2
    assert [sample.name for sample in registry.samples() if sample.function == "app:shop"] == ["orders", "junk1"]


def test_many_functions_together_leave_room_for_another() -> None:
    registry = CustomMetrics()
    for function in range(20):
        for number in range(custom.MAX_METRICS + 1):
            registry.count(f"junk{function}.{number}", function=f"app:junk{function}")
    registry.count("orders", function="app:shop")
    assert "orders" in {sample.name for sample in registry.samples()}
    assert registry.dropped == 20


def test_a_name_that_one_function_uses_first_is_free_for_another() -> None:
    registry = CustomMetrics()
    registry.set("orders", 5, {"junk": "x"}, "app:junk")
    registry.count("orders", 2, {"shop": "north"}, "app:shop")
    registry.observe("orders", 0.5, function="app:timer")
    registry.count("orders", 3, {"shop": "north"}, "app:other_shop")
    assert registry.dropped == 0
    assert [(s.function, s.type, s.labels) for s in registry.samples()] == [
        ("app:junk", "gauge", {"junk": "x"}),
        ("app:shop", "counter", {"shop": "north"}),
        ("app:timer", "histogram", {}),
        ("app:other_shop", "counter", {"shop": "north"}),
    ]
    assert [s.value for s in registry.samples() if s.type == "counter"] == [2, 3], "no function adds to another's"


def test_label_sets_that_one_function_makes_up_leave_room_in_the_same_metric() -> None:
    registry = CustomMetrics()
    for number in range(custom.MAX_SERIES + 1):
        registry.count("orders", labels={"shop": f"junk{number}"}, function="app:junk")
    registry.count("orders", labels={"shop": "north"}, function="app:shop")
    registry.count("orders", labels={"shop": "junk1"}, function="app:shop")
    assert registry.dropped == 1
    assert {sample.labels["shop"]: sample.value for sample in registry.samples()}["north"] == 1


def test_all_label_sets_of_a_function_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom, "MAX_SERIES_OF_FUNCTION", 5)
    registry = CustomMetrics()
    for number in range(8):
        registry.count(f"n{number % 2}", labels={"id": str(number)}, function="app:junk")
    registry.count("n0", labels={"id": "new"}, function="app:shop")
    assert (len(list(registry.samples())), registry.dropped) == (6, 3)
