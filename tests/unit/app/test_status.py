from __future__ import annotations

import json

from tasuki.app.status import MAX_SAMPLES, status_of
from tasuki.observe.custom import CustomMetrics


def test_what_handlers_count_is_told() -> None:
    metrics = CustomMetrics()
    metrics.count("mails", 2, {"to": "jp"})
    metrics.set("level", 0.5)
    metrics.observe("seconds", 1.5)
    status = status_of(None, metrics)
    assert (status["consumers"], status["queues"]) == ({}, {})
    assert json.loads(json.dumps(status["metrics"])) == [
        {"name": "mails", "type": "counter", "labels": {"to": "jp"}, "value": 2},
        {"name": "level", "type": "gauge", "labels": {}, "value": 0.5},
        {"name": "seconds", "type": "histogram", "labels": {}, "count": 1, "sum": 1.5},
    ]


def test_the_document_stays_small() -> None:
    metrics = CustomMetrics()
    for number in range(MAX_SAMPLES // 2):
        metrics.count("a", 1, {"n": str(number)})
        metrics.count("b", 1, {"n": str(number)})
        metrics.count("c", 1, {"n": str(number)})
    assert len(status_of(None, metrics)["metrics"]) == MAX_SAMPLES
