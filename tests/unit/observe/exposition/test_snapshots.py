from __future__ import annotations

import copy
import json
from itertools import pairwise
from typing import Any

import msgspec

from tasuki.observe.exposition.snapshots import add, quantile, totals_of
from tasuki.observe.exposition.text import exposition
from tasuki.observe.metrics import BUCKETS
from tests.unit.observe.exposition.samples import histogram, parsed, snapshot, value


def test_counters_of_processes_are_added() -> None:
    one, other = snapshot(2), snapshot(1)
    before = copy.deepcopy([one, other])
    total = add([one, other])
    assert [one, other] == before, "snapshots stay as they are"
    first, second = total["consumers"]["app:q0.consumer"], total["consumers"]["app:q1.consumer"]
    assert (first["acked"], second["acked"]) == (10, 5)
    assert first["handler_seconds"]["counts"] == histogram(_2=8, _26=2)["counts"]
    assert first["errors"] == {"ValueError": 2}
    assert first["queue"] == "app:q0"
    assert total["process"]["acts"] == {"retry": {"ok": 4}}
    assert total["handlers"]["orders_total"]["series"] == {'country="jp"': 6.0, "": 2.0}
    assert total["handlers"]["size"]["bounds"] == [1.0, 2.0]


def test_a_gauge_of_one_place_is_not_added() -> None:
    one, other = snapshot(loop_lag=0.2, start_time=100.0), snapshot()
    other["queues"]["app:q0"] |= {"ready": 7, "paused": 1}
    other["drivers"]["app:broker"]["up"] = 0
    total = add([one, other])
    queue = total["queues"]["app:q0"]
    assert (queue["ready"], queue["paused"], queue["oldest_age"]) == (7, 1, 2.5)
    assert total["drivers"]["app:broker"]["up"] == 0, "one process that is cut off shows"
    assert (total["process"]["loop_lag"], total["process"]["start_time"]) == (0.2, 100.0)
    assert total["consumers"]["app:q0.consumer"]["running"] == 2


def test_the_sum_is_the_same_in_any_order_and_grouping() -> None:
    one, two, three = snapshot(1), snapshot(2), snapshot(3, loop_lag=1.0)
    assert add([one, two, three]) == add([three, add([two, one])])
    assert add([]) == {}


def test_a_metric_of_a_handler_may_have_any_name() -> None:
    one = snapshot()
    names = ("exemplars", "errors", "series", "up", "counts")
    for name in names:
        one["handlers"][name] = {"type": "gauge", "series": {"": 2.0}}
    total = add([one, copy.deepcopy(one)])
    assert [total["handlers"][name]["series"] for name in names] == [{"": 4.0}] * len(names)


def test_names_of_others_are_always_added() -> None:
    one = snapshot()
    one["consumers"]["app:q0.consumer"]["errors"] = {"up": 1, "ready": 1}
    total = add([one, copy.deepcopy(one)])
    assert total["consumers"]["app:q0.consumer"]["errors"] == {"up": 2, "ready": 2}


def test_processes_of_two_versions_can_be_added() -> None:
    one, other = snapshot(), snapshot()
    other["bounds"] = [1.0]
    other["consumers"]["app:q0.consumer"]["handler_seconds"] = {"counts": [1, 1], "sum": 2.0}
    other["handlers"]["orders_total"] = {"type": "gauge", "series": {"": 1.0}}
    total = add([one, other])
    assert total["handlers"]["orders_total"] == one["handlers"]["orders_total"]
    assert parsed(exposition(total))


def test_the_counters_of_an_ended_process_stay_and_its_gauges_go() -> None:
    ended = totals_of(snapshot())
    consumer, queue = ended["consumers"]["app:q0.consumer"], ended["queues"]["app:q0"]
    assert (consumer["acked"], consumer["errors"]) == (5, {"ValueError": 1})
    assert not {"running", "buffered", "concurrency"} & consumer.keys()
    assert not {"ready", "oldest_age", "paused", "consumers"} & queue.keys()
    assert ended["drivers"] == {"app:broker": {"reconnects": 1}}
    assert "depth" not in ended["handlers"]
    found = parsed(exposition(add([ended, snapshot()])))
    assert value(found, "tasuki_messages_settled_total", result="acked") == 10
    assert value(found, "tasuki_handlers_running") == 1
    assert value(found, "process_cpu_seconds_total") == 3.0


def test_a_snapshot_is_plain_data() -> None:
    one: Any = snapshot(2)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one)) == one
    assert json.loads(json.dumps(one)) == one


def test_quantiles_lie_within_their_buckets() -> None:
    bounds = [1.0, 2.0, 4.0]
    assert quantile(bounds, [0, 0, 0, 0], 0.5) is None
    assert quantile(bounds, [10, 0, 0, 0], 0.5) == 0.5
    assert quantile(bounds, [0, 0, 10, 0], 0.95) == 3.9
    assert quantile(bounds, [5, 5, 0, 0], 0.75) == 1.5
    assert quantile(bounds, [0, 0, 0, 3], 0.5) == 4.0, "beyond the last bound"
    assert quantile(bounds, [1, 0, 0, 9], 1.0) == 4.0


def test_quantiles_lie_between_the_least_and_the_most() -> None:
    bounds = [1.0, 2.0, 4.0]
    assert [quantile(bounds, [0, 0, 1, 0], share, 3.3, 3.3) for share in (0.5, 0.95, 0.99)] == [3.3] * 3, "one value"
    assert quantile(bounds, [0, 10, 0, 0], 0.5, 1.5, 1.7) == 1.6
    assert quantile(bounds, [0, 0, 0, 2], 0.5, 5.0, 9.0) == 7.0, "beyond the last bound"
    assert quantile(bounds, [0, 0, 0, 1], 1.0, 5.0, 5.0) == 5.0
    assert quantile(bounds, [1, 0, 0, 0], 0.5, 0.0, 0.0) == 0.0


def test_each_bound_is_at_most_twice_the_one_before() -> None:
    assert all(low < high <= 2 * low for low, high in pairwise(BUCKETS))
    assert BUCKETS[-1] == 6 * 3600
