"""Counting on the path of every message, and off it."""

from __future__ import annotations

from tasuki.contracts.driver import Received
from tasuki.observe.metrics import BUCKETS, MAX_ERRORS, ConsumerMetrics, Histogram, QueueMetrics
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
