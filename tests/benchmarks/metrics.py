"""What metrics cost: counting a message, a scrape of a thousand queues, and the sum of four processes."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

import msgspec

from tasuki.clock import SystemClock
from tasuki.contracts.driver import Received
from tasuki.message import new_id
from tasuki.observe.exposition.snapshots import Snapshot, add
from tasuki.observe.exposition.text import respond
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics, Histogram, QueueMetrics

QUEUES = 1000
PROCESSES = 4


def report() -> None:
    """Print the figures, each the best of several runs."""
    plain, measured = counted(measures=False), counted(measures=True)
    print(f"counting a message: {plain * 1e6:.2f} µs, with its wait {measured * 1e6:.2f} µs")
    one = snapshot(QUEUES)
    body = respond(one)[1]
    lines = body.count(10)
    print(f"text of {QUEUES} queues: {best(lambda: respond(one)) * 1e3:.1f} ms, {lines} lines, "
          f"{len(body) / 1e6:.1f} MB")  # fmt: skip
    packed = msgspec.msgpack.encode(one)
    encode, decode = best(lambda: msgspec.msgpack.encode(one)), best(lambda: msgspec.msgpack.decode(packed))
    print(f"msgpack of it: {len(packed) / 1e6:.2f} MB, encode {encode * 1e3:.1f} ms, decode {decode * 1e3:.1f} ms")
    print(f"sum of {PROCESSES} processes: {best(lambda: add([one] * PROCESSES)) * 1e3:.1f} ms")


def counted(*, measures: bool, times: int = 1000, rounds: int = 100) -> float:
    """Seconds for one message, which is in the processor's cache, as one that has just been handled is."""
    metrics, clock = ConsumerMetrics(consumer="app:c", queue="app:q", driver="app:d"), SystemClock()
    if measures:
        metrics.measure(clock)
    messages = [Received(new_id(), b"{}", {"timestamp": 1}) for _ in range(times)]

    def run() -> None:
        ran = metrics.ran
        for _ in range(rounds):
            for message in messages:
                ran(message, 1.0, 1.004)

    def nothing() -> None:
        for _ in range(rounds):
            for _ in messages:
                pass

    return (best(run) - best(nothing)) / (times * rounds)


def best(work: Callable[[], object], runs: int = 7) -> float:
    """Seconds of processor time of the fastest run: other processes do not count."""
    return min(timeit.repeat(work, timer=time.process_time, number=1, repeat=runs))


def snapshot(queues: int) -> Snapshot:
    """Of one process with this many queues, and a consumer for each."""
    histogram = {"counts": [3] * (len(BUCKETS) + 1), "sum": 12.5}
    ids = [f"app:queue-{number}" for number in range(queues)]
    queue = {name: 7 for name in QueueMetrics.__slots__ if name not in ("queue", "driver", "publish_seconds")}
    consumer = ConsumerMetrics(consumer="", queue="", driver="").counters()
    assert len(Histogram().counts) == len(BUCKETS) + 1
    gauges = {"ready": 5, "in_flight": 2, "delayed": 1, "oldest_age": 1.5, "paused": 0, "consumers": 1}
    return {
        "version": "1",
        "python": "3",
        "born": "x",
        "at": 1.0,
        "bounds": list(BUCKETS),
        "queues": {id: {**queue, **gauges, "driver": "app:broker", "publish_seconds": histogram} for id in ids},
        "consumers": {
            f"{id}.consumer": {
                **consumer,
                "queue": id,
                "driver": "app:broker",
                "errors": {"ValueError": 1},
                "handler_seconds": histogram,
                "wait_seconds": histogram,
                "running": 1,
                "buffered": 1,
                "concurrency": 1,
            }
            for id in ids
        },
    }
