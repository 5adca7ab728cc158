"""The recorder makes minutes of counters that it does not keep itself."""

from __future__ import annotations

from typing import Any

from tasuki.observe.history import Minute, Point, decode, encode
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics, QueueMetrics
from tasuki.observe.recorder import Recorder

NAME = ("app:driver", "mail")


def parts() -> tuple[QueueMetrics, ConsumerMetrics, Recorder]:
    queue = QueueMetrics(queue="app:mail", driver="app:driver")
    consumer = ConsumerMetrics(consumer="app:sender", queue="app:mail", driver="app:driver")
    recorder = Recorder()
    recorder.watch({NAME: (queue, [consumer])})
    return queue, consumer, recorder


def close(recorder: Recorder) -> dict[str, dict[str, Point]]:
    return recorder.close(lambda name: (7, 2))


def test_a_minute_has_what_the_counters_gained() -> None:
    queue, consumer, recorder = parts()
    queue.published = 5
    recorder.step(0)
    queue.published, consumer.acked, consumer.failed = 8, 4, 1
    consumer.bury("max_attempts")
    consumer.handler_seconds.observe(0.2)
    recorder.step(11)

    point = close(recorder)["app:driver"]["mail"]

    assert (point.published, point.done, point.failed, point.dead) == (8, 4, 1, 1)
    assert (point.ready, point.busy) == (7, 2)
    assert list(point.run) == [8, 1]
    assert (list(point.run_range), list(point.wait_range)) == ([200_000, 200_000], [])
    assert list(point.steps[:3]) == [5, 0, 0]
    assert list(point.steps[33:]) == [3, 4, 1]


def test_a_minute_in_which_nothing_happened_is_none() -> None:
    queue, _, recorder = parts()
    queue.published = 1
    recorder.step(0)
    close(recorder)
    recorder.step(1)

    assert close(recorder) == {}


def test_a_cancelled_message_is_not_done() -> None:
    _, consumer, recorder = parts()
    consumer.ack("max_attempts")
    consumer.ack("cancelled")
    recorder.step(3)

    assert close(recorder)["app:driver"]["mail"].done == 1


def test_a_reload_counts_nothing_twice() -> None:
    queue, consumer, recorder = parts()
    queue.published, consumer.acked = 10, 10
    recorder.step(0)
    fresh = ConsumerMetrics(consumer="app:sender", queue="app:mail", driver="app:driver")

    recorder.watch({NAME: (queue, [fresh])})
    fresh.acked, queue.published = 2, 11
    recorder.step(1)
    point = close(recorder)["app:driver"]["mail"]

    assert (point.published, point.done) == (11, 12)


def test_a_queue_that_began_again_counts_from_nothing() -> None:
    queue, consumer, recorder = parts()
    queue.published = 10
    recorder.step(0)
    close(recorder)
    again = QueueMetrics(queue="app:mail", driver="app:driver", published=3)
    recorder.watch({NAME: (again, [consumer])})
    recorder.step(0)

    assert close(recorder)["app:driver"]["mail"].published == 3


def a_minute(queues: int, **fields: Any) -> Minute:
    point = Point(
        40, 38, 2, 1, 5, 3, [6, 10, 7, 20, 8, 8], [7, 30, 8, 8], [3, 3, 0] * 12, [1200, 52_000], [90_000, 410_000]
    )
    return Minute(1, "host", 1, len(BUCKETS) + 1, {"app:driver": {f"q{n:04}": point for n in range(queues)}}, **fields)


def test_a_minute_travels() -> None:
    minute = a_minute(3, consumes=True, has_ended=True)
    [value] = encode(minute, 10_000)

    assert decode(value) == minute
    assert decode(b"\xff\x00") is None
    assert decode(b"\x93\x01\x02\x03") is None


def test_a_large_minute_is_several_values_of_bounded_size() -> None:
    minute = a_minute(1000)
    values = list(encode(minute, 20_000))
    read = [one for value in values if (one := decode(value)) is not None]

    assert max(map(len, values)) <= 20_000
    assert sum(len(one.queues["app:driver"]) for one in read) == 1000
    assert sum(map(len, values)) < 100_000, "a queue's minute has less than 100 bytes: an hour less than 6 KB"
