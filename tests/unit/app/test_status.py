from __future__ import annotations

import json

from tasuki.app.health.health import MAX_SAMPLES, status_of
from tasuki.observe.custom import CustomMetrics


def test_what_handlers_count_is_told() -> None:
    metrics = CustomMetrics()
    metrics.count("mails", 2, {"to": "jp"}, "app:send")
    metrics.set("level", 0.5, function="app:tank")
    metrics.observe("seconds", 1.5, function="app:wait")
    status = status_of(None, metrics)
    assert (status["consumers"], status["queues"]) == ({}, {})
    assert json.loads(json.dumps(status["metrics"])) == [
        {"function": "app:send", "name": "mails", "type": "counter", "labels": {"to": "jp"}, "value": 2},
        {"function": "app:tank", "name": "level", "type": "gauge", "labels": {}, "value": 0.5},
        {"function": "app:wait", "name": "seconds", "type": "histogram", "labels": {}, "count": 1, "sum": 1.5},
    ]


def test_the_document_stays_small() -> None:
    metrics = CustomMetrics()
    for number in range(MAX_SAMPLES // 2):
        metrics.count("a", 1, {"n": str(number)})
        metrics.count("b", 1, {"n": str(number)})
        metrics.count("c", 1, {"n": str(number)})
    assert len(status_of(None, metrics)["metrics"]) == MAX_SAMPLES


def test_one_function_does_not_fill_the_document() -> None:
    metrics = CustomMetrics()
    for number in range(2 * MAX_SAMPLES):
        metrics.count(f"junk{number % 2}", 1, {"n": str(number)}, "app:junk")
    metrics.count("orders", 1, None, "app:shop")
    shown = status_of(None, metrics)["metrics"]
    assert len(shown) == MAX_SAMPLES
    assert {"app:junk", "app:shop"} == {sample["function"] for sample in shown}
