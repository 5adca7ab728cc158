"""The metrics of handlers, as they are exported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasuki.observe.custom import OF_HANDLERS, CustomMetrics, Sample, record
from tasuki.observe.exposition import series
from tasuki.observe.exposition.series import families, labels_of, name_of
from tasuki.observe.exposition.snapshots import add
from tasuki.observe.exposition.text import exposition
from tests.unit.observe.exposition.samples import parsed, parsed_open, snapshot


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
