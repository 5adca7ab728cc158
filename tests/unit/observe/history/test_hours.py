"""Hours add up the minutes of processes, and forget those that are older than an hour."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.observe.history import MOST, Hours, Minute, MinuteRecorder, Point, added, decode, encode, five_minutes
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics, QueueMetrics

NOW = 28_000_000


def minute(number: int, pid: int = 1, buckets: int = len(BUCKETS) + 1, **point: Any) -> Minute:
    points = {"app:driver": {"mail": Point(**point)}}
    return Minute(number, "host", pid, buckets, points, consumes=True)


def hours_of(*minutes: Minute, newest: int = NOW) -> Hours:
    hours = Hours()
    hours.begin(newest - 59, newest)
    for one in minutes:
        hours.add(one)
    return hours


def test_processes_are_added_up() -> None:
    hours = hours_of(
        minute(NOW, published=5, done=3, ready=9), minute(NOW, pid=2, published=1, ready=8, failed=2), minute(NOW - 59)
    )
    hour = hours.of("app:driver", "mail")
    assert hour is not None
    span = hour.span(NOW, NOW)

    assert (span.published, span.done, span.failed, span.ready) == (6, 3, 2, 9)
    assert hour.span(NOW - 1, NOW - 1).ready is None
    assert hour.numbers("published", NOW) == [0] * 59 + [6]
    assert {each.pid for each in hours.processes} == {1, 2}


def test_older_and_later_minutes_are_left_out() -> None:
    hours = hours_of(minute(NOW - 64, done=1), minute(NOW + 1, done=1))

    assert hours.of("app:driver", "mail") is None


def test_minutes_that_are_read_again_count_once() -> None:
    hours = hours_of(minute(NOW - 1, done=5), minute(NOW, done=1))
    hours.begin(NOW - 1, NOW + 1)
    for one in (minute(NOW - 1, done=5), minute(NOW, done=4), minute(NOW + 1, done=2)):
        hours.add(one)
    hour = hours.of("app:driver", "mail")

    assert hour is not None
    assert hour.numbers("done", NOW + 1)[-4:] == [0, 5, 4, 2]


def test_after_an_hour_a_quiet_queue_is_forgotten() -> None:
    hours = hours_of(minute(NOW, done=5))
    hours.begin(NOW + 57, NOW + 63)
    assert hours.of("app:driver", "mail") is not None
    hours.begin(NOW + 57, NOW + 64)

    assert hours.of("app:driver", "mail") is None
    assert list(hours.processes) == []
    hours.begin(NOW + 500, NOW + 500)
    assert len(hours) == 0


def test_times_are_of_all_processes_together() -> None:
    one = Point(run=[BUCKETS.index(0.016), 90], wait=[0, 1])
    other = Point(run=[BUCKETS.index(1.0), 10])
    hours = hours_of()
    for pid, point in enumerate((one, other)):
        hours.add(Minute(NOW, "host", pid, len(BUCKETS) + 1, {"d": {"q": point}}))
    hour = hours.of("d", "q")
    assert hour is not None
    run = hour.span(NOW, NOW).run

    assert run.p50 is not None
    assert run.p50 < 0.025
    assert run.p95 is not None
    assert 0.5 < run.p95 < 1.0
    assert hour.span(NOW - 5, NOW - 1).run.p95 is None


def test_histograms_with_other_buckets_are_left_out_and_absurd_numbers_bounded() -> None:
    hours = hours_of(minute(NOW, buckets=3, done=4))
    assert hours.of("app:driver", "mail") is None

    for pid in range(100):
        hours.add(minute(NOW, pid=pid, done=MOST, run=[99, 1, 3, MOST, 5], wait=[0]))
    hour = hours.of("app:driver", "mail")
    assert hour is not None
    assert hour.span(NOW, NOW).done == 2**32 - 1
    assert hour.span(NOW, NOW).run.p50 is not None


@pytest.mark.parametrize("numbers", [{"done": MOST + 1}, {"failed": -5}, {"run": [1] * 300}, {"wait": [-1, 2]}])
def test_numbers_that_no_process_has_are_not_read(numbers: dict[str, Any]) -> None:
    [value] = encode(minute(NOW, **numbers), 10**6)
    assert decode(value) is None


def test_five_minutes_and_steps() -> None:
    steps = [0] * 36
    steps[3:6] = [1, 2, 3]
    hours = hours_of(minute(NOW - 4, done=2), minute(NOW - 5, done=7))
    hours.add(Minute(NOW, "h", 1, len(BUCKETS) + 1, {"app:driver": {"mail": Point(steps=steps)}}))
    hour = hours.of("app:driver", "mail")
    assert hour is not None
    spans = five_minutes(hour, NOW)

    assert [span.done for span in spans] == [2, 7] + [0] * 10
    assert len(hour.steps(NOW)) == 60
    assert hour.steps(NOW)[49] == (1, 2, 3)
    old = hours_of(Minute(NOW - 9, "h", 1, len(BUCKETS) + 1, {"d": {"q": Point(steps=steps)}})).of("d", "q")
    assert old is not None
    assert set(old.steps(NOW)) == {(0, 0, 0)}, "they are not taken for steps of a newer minute"
    assert added([[1] * 60, [2] * 60]) == [3] * 60


def test_one_run_is_shown_as_long_as_it_took() -> None:
    queue, consumer, recorder = (
        QueueMetrics(queue="app:mail", driver="app:driver"),
        ConsumerMetrics(consumer="app:sender", queue="app:mail", driver="app:driver"),
        MinuteRecorder(),
    )
    recorder.watch({("app:driver", "mail"): (queue, [consumer])})
    consumer.acked = 1
    consumer.handler_seconds.observe(400.0)
    recorder.step(3)
    points = recorder.close(lambda _: (-1, 0))
    [value] = encode(Minute(NOW, "host", 1, len(BUCKETS) + 1, points), 10_000)
    read = decode(value)
    assert read is not None
    hour = hours_of(read).of("app:driver", "mail")
    assert hour is not None
    span = hour.span(NOW - 4, NOW)
    assert span.run == (400.0, 400.0, 400.0), "6 m 40 s, not somewhere in its bucket"
    assert span.wait == (None, None, None)


def test_the_least_and_the_most_of_all_processes_and_minutes_count() -> None:
    bucket = BUCKETS.index(0.5)
    hours = hours_of(
        minute(NOW - 1, run=[bucket, 4], run_range=[300_000, 400_000]),
        minute(NOW, run=[bucket, 1], run_range=[310_000, 310_000]),
        minute(NOW, pid=2, run=[bucket, 1], run_range=[260_000, 270_000]),
    )
    hour = hours.of("app:driver", "mail")
    assert hour is not None
    assert hour.span(NOW - 1, NOW).run.p99 == pytest.approx(0.4, abs=0.002)
    assert hour.span(NOW, NOW).run.p50 == pytest.approx((0.26 + 0.31) / 2)
    hours.begin(NOW, NOW)
    hours.add(minute(NOW, run=[bucket, 1], run_range=[450_000, 450_000]))
    hour = hours.of("app:driver", "mail")
    assert hour is not None
    assert hour.span(NOW, NOW).run.p50 == pytest.approx(0.45), "a minute that is read again begins again"
    hours.add(minute(NOW, pid=3, run=[bucket, 1]))
    assert hour.span(NOW, NOW).run.p50 == pytest.approx(0.45), "a process that says no range"


NAME = ("app:driver", "mail")


def parts() -> tuple[QueueMetrics, ConsumerMetrics, MinuteRecorder]:
    queue = QueueMetrics(queue="app:mail", driver="app:driver")
    consumer = ConsumerMetrics(consumer="app:sender", queue="app:mail", driver="app:driver")
    recorder = MinuteRecorder()
    recorder.watch({NAME: (queue, [consumer])})
    return queue, consumer, recorder


def close(recorder: MinuteRecorder) -> dict[str, dict[str, Point]]:
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
