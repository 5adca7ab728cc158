"""Counting on the path of every message, and off it."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Received
from tasuki.observe import custom
from tasuki.observe.custom import CustomMetrics
from tasuki.observe.metrics import BUCKETS, MAX_ERRORS, ConsumerMetrics, Histogram, QueueMetrics, Waits, published_at
from tasuki.testing.clock import FakeClock

SAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-01"


def consumer() -> ConsumerMetrics:
    return ConsumerMetrics(consumer="app:c", queue="app:q", driver="app:d")


def message(**headers: str) -> Received:
    return Received("m", b"", {"timestamp": 1, **headers})


def test_a_value_is_in_the_bucket_of_its_bound() -> None:
    plain, counted = Histogram(), consumer()
    for seconds in (0.0, 0.001, 0.0011, 60.0, 1800.0, 1801.0):
        plain.observe(seconds)
        counted.ran(message(), 10.0, 10.0 + seconds)
    assert {bound: count for bound, count in zip((*BUCKETS, None), plain.counts, strict=True) if count} == {
        0.001: 2, 0.002: 1, 60.0: 1, 1800.0: 1, 3600.0: 1
    }  # fmt: skip
    ranges = [plain.take_range(), counted.handler_seconds.take_range()]
    assert ranges == [(0.0, 1801.0), (0.0, 1801.0)]
    assert plain.take_range() is None
    plain.observe(7.0)
    assert plain.take_range() == (7.0, 7.0), "since the last call"
    assert [sum(plain.counts), sum(counted.handler_seconds.counts)] == [7, 6]
    assert counted.handler_seconds.count == counted.as_dict()["handler_count"] == 6


def test_waits_are_counted_once_they_are_asked_for() -> None:
    counted, retry = consumer(), Received("m", b"", {}, attempt=2)
    counted.ran(message(), 1.0, 2.0)
    assert counted.wait_seconds.count == 0
    counted.measure(FakeClock())
    counted.measure(FakeClock())
    counted.ran(message(), 1.0, 2.0)
    counted.ran_batch([message(), message(), retry], 1.0, 2.0)
    counted.ran(retry, 1.0, 2.0)
    assert (counted.wait_seconds.count, counted.handler_seconds.count) == (3, 4), "a retry waits for its retry"


def test_others_get_each_value_too() -> None:
    counted, found = consumer(), list[float]()
    counted.handler_seconds.also = counted.wait_seconds.also = found.append
    counted.ran(message(), 1.0, 1.5)
    counted.wait_seconds.observe(7)
    assert found == [0.5, 7]


def test_the_last_sampled_trace_of_a_bucket_is_its_exemplar() -> None:
    counted = consumer()
    counted.ran(message(traceparent=SAMPLED), 1.0, 1.5)
    assert counted.handler_seconds.exemplars == {}
    counted.measure(clock := FakeClock())
    counted.ran(message(traceparent=SAMPLED), 1.0, 1.5)
    counted.ran(message(traceparent=SAMPLED[:-1] + "0"), 1.0, 2.0)
    counted.ran(message(traceparent="nonsense"), 1.0, 2.0)
    [(bucket, (trace, seconds, at))] = counted.handler_seconds.exemplars.items()
    assert (BUCKETS[bucket], trace, seconds) == (0.5, "ab" * 16, 0.5)
    assert at == round(clock.time() - clock.monotonic() + 1.5, 3)


def test_failures_are_counted_by_type_and_their_types_are_bounded() -> None:
    counted = consumer()
    for number in range(MAX_ERRORS + 5):
        counted.fail(type(f"Error{number}", (Exception,), {})())
    counted.fail(None, 3)
    counted.fail(ValueError())
    assert counted.failed == MAX_ERRORS + 9
    assert len(counted.errors) == MAX_ERRORS + 1
    assert counted.errors["other"] == 9
    assert sum(counted.errors.values()) == counted.failed


def test_what_removed_consumers_counted_for_the_queue_is_kept() -> None:
    queue, first, second = QueueMetrics(queue="app:q", driver="app:d"), consumer(), consumer()
    first.expired, first.dead = 3, {"invalid": 1}
    second.limit_waits, second.dead = 2, {"invalid": 1, "rejected": 1}
    for each in (first, second, second):  # of the same id
        queue.leave(each)
    assert queue.former == {second.consumer: second}
    assert (second.expired, second.limit_waits, second.dead) == (3, 2, {"invalid": 2, "rejected": 1})


AT = 1_700_000_000.25


V7 = f"{int(AT * 1000) >> 16:08x}-{int(AT * 1000) & 0xFFFF:04x}-7abc-8000-0123456789ab"


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waits = Waits(self.clock)

    def start(self, after: float, id: str = V7, **headers: Any) -> float:
        """How long a message waited that starts so long after AT."""
        started = self.clock.monotonic() + AT + after - self.clock.time()
        return round(self.waits.of(Received(id, b"", {"timestamp": int(AT), **headers}), started), 3)


def test_an_id_says_when_a_message_was_published() -> None:
    bench = Bench()
    assert bench.start(0.5) == 0.5
    assert bench.start(0.75) == 0.75, "the next one of the same millisecond"


def test_an_id_of_the_publisher_leaves_the_header() -> None:
    assert Bench().start(0.5, id="order 7") == 0.75, "to the second"
    assert published_at(Received("0" * 14 + "7" + "0" * 21, b"", {"timestamp": 5})) == 5
    assert published_at(Received("zzzzzzzz-zzzz-7000-8000-000000000000", b"", {"timestamp": 5})) == 5
    assert published_at(Received("x", b"", {})) == 0


def test_ids_of_a_publisher_that_begin_alike_have_times_of_their_own() -> None:
    bench = Bench()
    assert bench.start(0.5, id="customer-welcome-1") == 0.75
    assert bench.start(60.5, id="customer-welcome-2", timestamp=int(AT) + 60) == 0.75


def test_a_delay_is_no_wait() -> None:
    assert Bench().start(60.5, x_due=AT + 60) == 0.5


def test_a_dead_letter_waits_from_its_death() -> None:
    assert Bench().start(100, x_due=AT + 60, x_dead_letter_time=AT + 98) == 2


def test_a_publisher_whose_clock_is_ahead_counts_as_no_wait() -> None:
    assert Bench().start(-3) == 0


def test_the_wall_clock_is_compared_again() -> None:
    bench = Bench()
    assert bench.start(0.5) == 0.5
    started = bench.clock.monotonic() + 100
    bench.waits.of(Received(V7, b"", {}), started)
    assert bench.waits.wall(started) == pytest.approx(bench.clock.time() + 100)


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
