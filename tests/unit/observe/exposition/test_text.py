"""What Prometheus reads, as its own client library understands it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tasuki.observe.custom import OF_HANDLERS, CustomMetrics, Sample, record
from tasuki.observe.exposition import series
from tasuki.observe.exposition.series import SERIES, families, labels_of, name_of
from tasuki.observe.exposition.snapshots import add, totals_of
from tasuki.observe.exposition.text import CLASSIC, OPEN_METRICS, PLAIN, exposition, respond, wants_open_metrics
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics, quantile
from tests.unit.observe.exposition.samples import histogram, open_families, parsed, parsed_open, snapshot, value


def test_every_series_is_read_in_both_formats() -> None:
    plain, open_ones = parsed(exposition(snapshot())), parsed_open(exposition(snapshot(), is_open=True))
    names = {name for name, _ in plain}
    for each in SERIES:
        assert (f"{each.name}_count" if each.type == "histogram" else each.name) in names, each.name
    assert plain.keys() == open_ones.keys()
    assert plain == open_ones


def test_labels_tell_the_queue_the_consumer_and_the_driver() -> None:
    found = parsed(exposition(snapshot()))
    labels = {"queue": "app:q0", "consumer": "app:q0.consumer", "driver": "app:broker"}
    assert found["tasuki_messages_settled_total", tuple(sorted({**labels, "result": "acked"}.items()))] == 5
    assert found["tasuki_handlers_running", tuple(sorted(labels.items()))] == 1
    assert value(found, "tasuki_queue_messages", queue="app:q0", driver="app:broker", state="ready") == 3
    assert value(found, "tasuki_messages_dead_lettered_total", queue="app:q0", reason="rejected") == 2
    assert value(found, "tasuki_desk_acts_total", act="retry", result="ok") == 2
    assert value(found, "tasuki_build_info", version="1.0", python="3.11") == 1


def handled(text: str) -> dict[str, float]:
    """The buckets of the handler's time, by their bounds."""
    names = parsed(text).items()
    return {dict(labels)["le"]: n for (name, labels), n in names if name == "tasuki_handler_duration_seconds_bucket"}


def test_buckets_add_up() -> None:
    text = respond(snapshot(), query="buckets=all")[1].decode()
    by_bound = handled(text)
    assert len(by_bound) == len(BUCKETS) + 1
    assert (by_bound["0.002"], by_bound["0.004"], by_bound["21600.0"], by_bound["+Inf"]) == (0, 4, 4, 5)
    assert value(parsed(text), "tasuki_handler_duration_seconds_count") == 5


def test_eight_buckets_are_shown_and_count_what_is_in_those_between() -> None:
    one = snapshot()
    one["consumers"]["app:q0.consumer"]["handler_seconds"] = histogram(_0=1, _3=2, _4=4, _17=8, _25=16, _26=32)
    by_bound = handled(exposition(one))
    assert by_bound == {
        "0.004": 1, "0.016": 7, "0.064": 7, "0.25": 7, "1.0": 7, "8.0": 7, "60.0": 7, "900.0": 15, "+Inf": 63,
    }  # fmt: skip
    assert set(BUCKETS) > CLASSIC


def test_a_bucket_that_is_shown_for_several_has_the_latest_exemplar() -> None:
    one = snapshot()
    exemplars = {"3": ["ab" * 16, 0.006, 20.0], "4": ["cd" * 16, 0.01, 10.0], "26": ["ef" * 16, 9e9, 5.0]}
    one["consumers"]["app:q0.consumer"]["handler_seconds"]["exemplars"] = exemplars
    found = {
        sample.labels["le"]: sample.exemplar.labels["trace_id"]
        for family in open_families(exposition(one, is_open=True))
        for sample in family.samples
        if sample.exemplar
    }
    assert found == {"0.016": "ab" * 16, "+Inf": "ef" * 16}


def test_what_has_counted_nothing_has_gauges_and_what_alerts_compare_with_0() -> None:
    one = snapshot(2)
    kept = {"ready": 3, "in_flight": 0, "paused": 0, "driver": "app:broker", "dead": {"rejected": 0}}
    one["queues"]["app:q1"] = {**kept, "published": 0, "expired": 0, "publish_seconds": histogram()}
    idle = ConsumerMetrics(consumer="", queue="", driver="").counters()
    one["consumers"]["app:q1.consumer"] = {**idle, "queue": "app:q1", "concurrency": 4, "handler_seconds": histogram()}
    names = {name for name, labels in parsed(exposition(one)) if dict(labels).get("queue") == "app:q1"}
    assert names == {
        "tasuki_queue_messages", "tasuki_queue_paused", "tasuki_consumer_concurrency",
        "tasuki_messages_delivered_total", "tasuki_messages_dead_lettered_total",
    }  # fmt: skip

    one["consumers"]["app:q1.consumer"]["acked"] = 1
    found = parsed(exposition(one))
    assert value(found, "tasuki_messages_settled_total", queue="app:q1", result="nacked") == 0
    assert (
        "tasuki_handler_duration_seconds_count" in {name for name, labels in found if "app:q1" in str(labels)}
    ) is False


def test_what_handlers_count_is_there() -> None:
    found = parsed(exposition(snapshot()))
    assert value(found, "orders_total", country="jp") == 3
    assert found["orders_total", ()] == 1
    assert found["depth", ()] == 2.5
    assert found["size_bucket", (("le", "2.0"),)] == 1
    assert found["size_count", ()] == 3


def test_a_bucket_has_an_exemplar_in_open_metrics_only() -> None:
    text = exposition(snapshot(), is_open=True)
    exemplars = [
        (sample.labels["le"], sample.exemplar.labels, sample.exemplar.value, float(sample.exemplar.timestamp))
        for family in open_families(text)
        for sample in family.samples
        if sample.exemplar
    ]
    assert exemplars == [("0.004", {"trace_id": "ab" * 16}, 0.004, 999.5)]
    assert "trace_id" not in exposition(snapshot())


@pytest.mark.parametrize("id", ['a"b', "a\\b", "a\nb", "日本語", "a,b={}", "x\ud800"])
def test_any_id_is_a_label(id: str) -> None:
    one = snapshot()
    one["queues"] = {id: one["queues"]["app:q0"]}
    text = respond(one)[1].decode()
    assert value(parsed(text), "tasuki_unique_suppressed_total", queue=id.replace("\ud800", "?")) == 1


def test_a_pattern_chooses_queues_and_their_consumers() -> None:
    _, body = respond(snapshot(12), query="queues=app:q1*&queues=app:q2")
    found = parsed(body.decode())
    queues = {dict(labels)["queue"] for (_, labels) in found if "queue" in dict(labels)}
    assert queues == {"app:q1", "app:q10", "app:q11", "app:q2"}
    assert value(found, "tasuki_driver_up") == 1, "what is not of a queue stays"


def test_histograms_can_be_left_out() -> None:
    _, body = respond(snapshot(), query="histograms=0")
    assert "_bucket" not in body.decode()
    assert value(parsed(body.decode()), "tasuki_messages_delivered_total") == 0


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/html, */*;q=0.8", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=high", False),
    ],
)
def test_the_format_is_the_client_s_choice(accept: str, is_open: bool) -> None:
    assert wants_open_metrics(accept) is is_open
    content_type, body = respond(snapshot(), accept)
    assert content_type == (OPEN_METRICS if is_open else PLAIN)
    assert body.endswith(b"# EOF\n") is is_open


def test_what_a_process_does_not_know_is_left_out() -> None:
    one = snapshot()
    for name in ("ready", "in_flight", "delayed", "oldest_age", "paused", "consumers"):
        del one["queues"]["app:q0"][name]
    text = exposition(one)
    assert "tasuki_queue_messages" not in text, "no number, no HELP and no TYPE"
    assert parsed(exposition({"version": "1", "python": "3"}))
    assert parsed_open(exposition({"version": "1", "python": "3"}, is_open=True))


@pytest.mark.parametrize(("number", "text"), [(float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")])
def test_numbers_that_json_does_not_know(number: float, text: str) -> None:
    assert f"\ntasuki_loop_lag_seconds {text}\n" in exposition(snapshot(loop_lag=number))


def test_names_and_labels_become_ones_that_prometheus_accepts() -> None:
    assert name_of("orders.new", "counter") == "orders_new_total"
    assert name_of("orders_total", "counter") == "orders_total"
    assert name_of("2fast", "gauge") == "_2fast"
    assert name_of("", "gauge") == "_"
    assert labels_of((("queue", "a"), ("le", "b"), ("9-x", 'say "hi"'))) == (
        'exported_queue="a",exported_le="b",_9_x="say \\"hi\\""'
    )


def test_functions_that_count_under_one_name_are_counted_together() -> None:
    registry = CustomMetrics()
    registry.count("orders", 2, {"country": "jp"}, "app:one")
    registry.count("orders", 3, {"country": "jp"}, "app:other")
    registry.observe("size", 0.3, function="app:one")
    registry.observe("size", 0.4, function="app:other")
    found, dropped = families(registry.samples())
    assert found["orders_total"] == {"type": "counter", "series": {'country="jp"': 5.0}}
    assert (sum(found["size"]["series"][""]["counts"]), found["size"]["series"][""]["sum"]) == (2, 0.7)
    assert dropped == 0


def test_a_name_has_one_type() -> None:
    registry = CustomMetrics()
    registry.set("orders", 5, function="app:one")
    registry.observe("orders", 1, function="app:other")
    found, dropped = families(registry.samples())
    assert (found["orders"]["type"], dropped) == ("gauge", 1)


def test_our_own_names_are_reserved() -> None:
    registry = CustomMetrics()
    registry.set("tasuki_driver_up", 0)
    assert families(registry.samples()) == ({}, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("observe", "x"), ("set", "x_count")),
        (("set", "x_sum"), ("observe", "x")),
        (("observe", "x"), ("set", "x_bucket")),
        (("count", "x"), ("set", "x")),
        (("count", "x"), ("set", "x_created")),
        (("set", "process_open_fds"), ("count", "process_cpu_seconds")),
        (("set", "a"), ("count", "_total")),
    ],
)
@pytest.mark.parametrize("is_open", [False, True])
def test_no_name_is_written_twice(first: tuple[str, str], second: tuple[str, str], is_open: bool) -> None:
    registry = CustomMetrics()
    for verb, name in (first, second):
        getattr(registry, verb)(name, 1, function=verb)
    whole = snapshot()
    process = {"cpu_seconds": 1.0, "open_fds": 3}

    found, dropped = families(registry.samples())
    one = exposition(whole | {"handlers": found, "process": process}, is_open=is_open)
    by_itself = [families(samples_of(verb, name))[0] for verb, name in (first, second)]
    two = exposition(add({"handlers": each, "process": process} for each in by_itself), is_open=is_open)

    assert len(found) + dropped == 2
    for text in (one, two):
        names = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
        assert len(set(names)) == len(names)
        assert (parsed_open if is_open else parsed)(text)


def samples_of(verb: str, name: str) -> Iterator[Sample]:
    registry = CustomMetrics()
    getattr(registry, verb)(name, 1)
    return registry.samples()


def test_labels_that_become_one_are_told_apart() -> None:
    assert labels_of((("a.b", "1"), ("a_b", "2"))) == 'a_b="1",a_b_="2"'
    assert labels_of((("exported_queue", "1"), ("queue", "2"))) == 'exported_queue="1",exported_queue_="2"'


def test_a_number_that_no_float_holds_is_dropped() -> None:
    before = OF_HANDLERS.dropped

    record("set", "app:one", "huge", 10**400)

    assert OF_HANDLERS.dropped == before + 1


def test_the_bounds_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MAX_NAMES", 3)
    monkeypatch.setattr(series, "MAX_SERIES", 2)
    registry = CustomMetrics()
    for number in range(5):
        registry.count(f"n{number}", function="app:one")
        registry.count("n0", labels={"id": str(number)}, function=f"app:{number}")
    found, dropped = families(registry.samples())
    assert len(found) == 3
    assert len(found["n0_total"]["series"]) == 2
    assert dropped == 2 + 4


def test_what_anything_may_be_named_is_read() -> None:
    registry = CustomMetrics()
    for name in ("a b", "ä", "x{y}", "\n", "a:b", "日本", "# TYPE"):
        registry.set(name, 1, {name: name})
    assert len(parsed(exposition({"handlers": families(registry.samples())[0]}))) == 1 + 7


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
