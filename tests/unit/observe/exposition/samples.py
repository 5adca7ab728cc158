"""Snapshots for these tests, and what prometheus_client reads in a text."""

from __future__ import annotations

from typing import Any

from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics


def histogram(**counted: int) -> dict[str, Any]:
    """Of counts by the number of the bucket: ``_3=2``."""
    counts = [0] * (len(BUCKETS) + 1)
    for bucket, count in counted.items():
        counts[int(bucket[1:])] = count
    return {"counts": counts, "sum": float(sum(counts))}


def snapshot(queues: int = 1, **process: float) -> Snapshot:
    """One process with this many queues, and a consumer for each."""
    ids = [f"app:q{number}" for number in range(queues)]
    consumer = ConsumerMetrics(consumer="", queue="", driver="").counters()
    queue = dict.fromkeys(("published", "rejected", "unknown", "suppressed", "expired", "limit_waits"), 1)
    return {
        "version": "1.0",
        "python": "3.11",
        "born": "one",
        "at": 1000.0,
        "bounds": list(BUCKETS),
        "queues": {
            id: {
                **queue,
                "driver": "app:broker",
                "publish_seconds": histogram(_0=1),
                "dead": {"rejected": 2},
                "ready": 3,
                "in_flight": 0,
                "delayed": 1,
                "oldest_age": 2.5,
                "paused": 0,
                "is_dead_letter": 1,
                "consumers": 2,
            }
            for id in ids
        },
        "consumers": {
            f"{id}.consumer": {
                **consumer,
                "acked": 5,
                "queue": id,
                "driver": "app:broker",
                "errors": {"ValueError": 1},
                "dead": {"rejected": 2},
                "handler_seconds": {**histogram(_2=4, _26=1), "exemplars": {"2": ["ab" * 16, 0.004, 999.5]}},
                "wait_seconds": histogram(_5=1),
                "running": 1,
                "running_long": 1,
                "buffered": 2,
                "concurrency": 4,
            }
            for id in ids
        },
        "drivers": {"app:broker": {"up": 1, "reconnects": 1}},
        "schedules": {"app:nightly": {"published": 1, "skipped": 0, "late": 0, "last_success": 900.0}},
        "process": {
            "loop_lag": 0.001,
            "loop_blocked": 0.5,
            "acts": {"retry": {"ok": 2}},
            "series_dropped": 0,
            "log_lines_dropped": 0,
            "start_time": 500.0,
            "cpu_seconds": 1.5,
            "resident_bytes": 1000,
            "open_fds": 10,
            **process,
        },
        "handlers": {
            "orders_total": {"type": "counter", "series": {'country="jp"': 3.0, "": 1.0}},
            "depth": {"type": "gauge", "series": {"": 2.5}},
            "size": {"type": "histogram", "bounds": [1.0, 2.0], "series": {"": {"counts": [1, 0, 2], "sum": 9.0}}},
        },
    }


Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Found:
    """The samples of a text in the plain format, by name and sorted labels."""
    return _found(parser.text_string_to_metric_families(text))


def parsed_open(text: str) -> Found:
    """The same of OpenMetrics."""
    return _found(open_families(text))


def open_families(text: str) -> Any:
    """The families of a text in OpenMetrics."""
    read: Any = open_parser.text_string_to_metric_families
    return read(text)


def _found(families: Any) -> Found:
    found: Found = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(found: Found, name: str, **labels: str) -> float:
    """The one sample of this name that has these labels, and perhaps others."""
    [number] = [each for (own, all_of), each in found.items() if own == name and labels.items() <= dict(all_of).items()]
    return number
