"""Metrics as OpenTelemetry's SDK collects them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tasuki import App, Context
from tasuki.app.measuring import meter
from tasuki.errors import ProjectError, UnsupportedError
from tasuki.observe.custom import BUCKETS, CustomMetrics
from tasuki.observe.exposition import telemetry
from tasuki.observe.exposition.series import PREFIX, SERIES
from tasuki.observe.exposition.telemetry import attributes_of, own_name
from tests.unit.app.project import Yaml, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


class Reader:
    """A provider whose metrics the test reads."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def points(self) -> dict[str, list[Any]]:
        data: Any = self.reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: list(metric.data.data_points) for metric in metrics}


@pytest.fixture
def reader() -> Iterator[Reader]:
    found = Reader()
    yield found
    found.provider.shutdown()


def point(points: list[Any], **attributes: str) -> Any:
    wanted = {name.replace("__", "."): value for name, value in attributes.items()}
    [one] = [each for each in points if wanted.items() <= dict(each.attributes).items()]
    return one


async def test_every_metric_of_a_running_app_is_collected(
    make_app: Make, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "OF_HANDLERS", CustomMetrics())
    app = make_app()
    app.metrics.to_opentelemetry(reader.provider)
    queue = app.queue("mail", dead_letter="dead", retry={"initial_delay": 1})

    @queue.consumer()
    async def handle(body: str, context: Context) -> None:
        if body == "bad":
            raise ValueError(body)

    async with app.worker():
        await queue.publish("good")
        await queue.publish("bad")
        await asyncio.sleep(30)
        found = reader.points()
    common = {"messaging.system": "memory", "messaging.destination.name": "app:mail", "tasuki.driver": "app:driver"}
    sent = point(
        found["messaging.client.sent.messages"], messaging__destination__name="app:mail", tasuki__outcome="confirmed"
    )
    assert (sent.value, dict(sent.attributes)) == (
        2, {**common, "messaging.operation.name": "send", "tasuki.outcome": "confirmed"})  # fmt: skip
    refused = [dict(each.attributes).get("error.type") for each in found["messaging.client.sent.messages"]]
    assert set(refused) == {None, "rejected", "unknown"}
    process = point(found["messaging.process.duration"])
    assert process.count == 6, "two messages, and five attempts of one of them"
    assert dict(process.attributes) == {
        **common, "messaging.consumer.group.name": "app:handle.consumer", "messaging.operation.name": "process",
    }  # fmt: skip
    assert process.explicit_bounds[0] == 0.005
    assert process.explicit_bounds[-1] == 10
    assert point(found["messaging.client.operation.duration"], messaging__destination__name="app:mail").count == 2
    assert point(found["tasuki.message.wait"]).count == 2
    assert point(found["tasuki.handler.failures"], error__type="ValueError").value == 5
    assert point(found["tasuki.messages.settled"], tasuki__result="acked").value == 1
    assert point(found["tasuki.driver.up"]).value == 1


async def test_each_series_has_an_instrument() -> None:
    names = {series.telemetry or own_name(series.name) for series in SERIES if series.name.startswith(PREFIX)}
    assert len(names) == sum(series.name.startswith(PREFIX) for series in SERIES)
    assert own_name("tasuki_loop_blocked_seconds_total") == "tasuki.loop.blocked"


async def test_what_handlers_count_is_collected(
    make_app: Make, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CustomMetrics()
    monkeypatch.setattr(meter, "OF_HANDLERS", registry)
    monkeypatch.setattr(telemetry, "OF_HANDLERS", registry)
    registry.count("orders", 3, {"country": 'j"p\n'})
    registry.set("depth", 5)
    registry.observe("size", 0.3, {"kind": "old"})
    app = make_app()
    app.metrics.to_opentelemetry(reader.provider)
    app.queue("mail")
    async with app:
        registry.observe("size", 0.3, {"kind": "a"})
        registry.observe("size", 0.7, {"kind": "a"})
        registry.observe("size", 100.0, {"kind": "old"})
        while "depth" not in (found := reader.points()):
            time.sleep(0.01)  # a thread makes the instruments of names that a collection finds
    assert point(found["orders"], country='j"p\n').value == 3
    assert point(found["depth"]).value == 5
    size = point(found["size"], kind="a")
    assert (size.count, size.sum, size.explicit_bounds) == (2, 1.0, BUCKETS)
    assert point(found["size"], kind="old").count == 1, "what was counted before the app was opened is not in it"
    assert attributes_of('a="\\\\n",b="x"') == (("a", "\\n"), ("b", "x"))


async def test_a_name_that_opentelemetry_does_not_take_fails_no_handler(
    make_app: Make, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CustomMetrics()
    monkeypatch.setattr(meter, "OF_HANDLERS", registry)
    monkeypatch.setattr(telemetry, "OF_HANDLERS", registry)
    app = make_app()
    app.metrics.to_opentelemetry(reader.provider)
    async with app:
        registry.observe("2nd:size", 0.3)
        registry.observe("x" * 300, 0.3)
        registry.count("_orders:new")
        registry.set("depth", 5)
        while not {"depth", "handler_orders.new"} <= (found := reader.points()).keys():
            time.sleep(0.01)
    assert point(found["handler_2nd.size"]).count == 1
    assert point(found["x" * 255]).count == 1
    assert point(found["handler_orders.new"]).value == 1


async def test_what_opentelemetry_raises_fails_no_message(
    make_app: Make, reader: Reader, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class View:
        """As a view of an application, or an exemplar filter, that has a defect."""

        def create_histogram(self, name: str, **_: object) -> Any:
            return self

        def record(self, amount: float, attributes: object = None) -> None:
            raise ZeroDivisionError(amount)

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **named: self

    registry = CustomMetrics()
    monkeypatch.setattr(telemetry, "OF_HANDLERS", registry)
    monkeypatch.setattr(telemetry, "_told", set())
    app = make_app()
    app.metrics.to_opentelemetry(View())
    queue = app.queue("mail")

    @queue.consumer()
    async def handle(body: str, context: Context) -> None:
        registry.observe("size", 1.0)

    async with app.worker():
        await queue.publish("a")
        await queue.publish("b")
        await asyncio.sleep(1)
        [consumer] = app.metrics.snapshot()["consumers"].values()
    assert (consumer["acked"], consumer["failed"]) == (2, 0)
    said = [line for line in caplog.messages if line.startswith("metrics: OpenTelemetry has failed")]
    assert said == [
        "metrics: OpenTelemetry has failed, and values may be missing; further ZeroDivisionError are not logged"
    ]


async def test_it_goes_on_over_a_reload(yaml: Yaml, reader: Reader) -> None:
    yaml.write()
    async with App.load(yaml.folder, clock=asyncio.get_running_loop().clock) as app:  # type: ignore[attr-defined]
        app._runtime.source.declared.add("metrics", "metrics.config", {"opentelemetry": True}, target=reader.provider)
        await app.reload()
        yaml.queue = "dead_letter: dead, retry: {initial_delay: 2s, max_delay: 2s, jitter: 0}"
        await reload(app, yaml)
        await app.publish("tasks", "a")
        found = reader.points()
        sent = found["messaging.client.operation.duration"]
        assert point(sent, messaging__destination__name="app:tasks").count == 1


async def test_without_the_package_the_error_says_what_to_install(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    monkeypatch.delitem(sys.modules, "tasuki.observe.exposition.telemetry", raising=False)
    app = make_app()
    app.metrics.to_opentelemetry()
    app.queue("mail")
    with pytest.raises(
        UnsupportedError, match=r"'app:metrics' asks for OpenTelemetry: .*pip install 'tasuki\[metrics\]'"
    ):
        await app.open()


def test_there_is_one_such_entry(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(
        'version: "1.0"\nnamespace: app\nentries:\n'
        "  - {name: one, kind: metrics.config, opentelemetry: true}\n  - {name: two, kind: metrics.config}\n"
    )
    with pytest.raises(ProjectError, match=r"a project has at most one metrics\.config, and 'app:one' is the first"):
        App.load(tmp_path).check()
