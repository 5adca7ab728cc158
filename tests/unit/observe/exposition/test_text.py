"""What Prometheus reads, as its own client library understands it."""

from __future__ import annotations

import pytest

from tasuki.observe.exposition.series import SERIES
from tasuki.observe.exposition.text import OPEN_METRICS, PLAIN, exposition, respond, wants_open_metrics
from tests.unit.observe.exposition.samples import open_families, parsed, parsed_open, snapshot, value


def test_every_series_is_read_in_both_formats() -> None:
    plain, open_ones = parsed(exposition(snapshot())), parsed_open(exposition(snapshot(), is_open=True))
    names = {name for name, _ in plain}
    for series in SERIES:
        assert (f"{series.name}_count" if series.type == "histogram" else series.name) in names, series.name
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


def test_buckets_add_up() -> None:
    found = parsed(exposition(snapshot()))
    buckets = {labels: n for (name, labels), n in found.items() if name == "tasuki_handler_duration_seconds_bucket"}
    by_bound = {dict(labels)["le"]: n for labels, n in buckets.items()}
    assert (by_bound["0.002"], by_bound["0.004"], by_bound["21600.0"], by_bound["+Inf"]) == (0, 4, 4, 5)
    assert value(found, "tasuki_handler_duration_seconds_count") == 5


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
