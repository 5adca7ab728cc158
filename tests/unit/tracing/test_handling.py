"""The spans of handlers, and the traces that they hand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBasedTraceIdRatio

from tasuki import App, Context, Reject, Retry, Snooze
from tasuki.message import HeaderValue
from tasuki.observe.trace import is_unsampled
from tasuki.queues.queue import Envelope
from tasuki.testing import TestApp
from tests.support.recorded import (
    OWN,
    UNSAMPLED,
    Recorded,
    attribute,
    id_of,
    links_of,
    parent_of,
    trace_of,
    traceparent_of,
)

pytestmark = pytest.mark.anyio

OTHER = f"00-{'5c' * 16}-{'0b' * 8}-01"
PROCESS = "process app:jobs"


def shop(recorded: Recorded, **fields: Any) -> App:
    app = App("memory://")
    app.queue("end")
    app.traces(recorded.provider, **fields)
    return app


async def passed_on(app: App, headers: dict[str, HeaderValue], count: int = 1) -> list[dict[str, HeaderValue]]:
    """Handle messages with these headers by a function that publishes another; what that one has."""

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        await app.publish("end", body)

    async with TestApp(app) as t:
        for _ in range(count):
            await t.publish("jobs", 1, headers)
        await t.drain()
        return [message.headers for message in await app.queue("end").peek()]


async def test_spans_of_a_handler_are_below_its_own() -> None:
    recorded = Recorded()
    app = shop(recorded)
    tracer = recorded.provider.get_tracer("shop")

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        with tracer.start_as_current_span("pay"):
            await app.publish("end", body)

    @app.queue("plain").consumer
    def plain(body: int) -> None:
        with tracer.start_as_current_span("pay plainly"):
            app.sync.publish("end", body)

    async with TestApp(app) as t:
        await t.publish("jobs", 1)
        await t.publish("plain", 1)
        await t.drain()

    for process, pay in ((PROCESS, "pay"), ("process app:plain", "pay plainly")):
        assert parent_of(recorded.one(pay)) == id_of(recorded.one(process))
    assert {parent_of(span) for span in recorded.named("send app:end")} == {
        id_of(recorded.one("pay")),
        id_of(recorded.one("pay plainly")),
    }


async def test_a_span_of_another_trace_in_a_handler_does_not_take_its_messages() -> None:
    recorded = Recorded()
    app = shop(recorded)

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        elsewhere = trace.set_span_in_context(trace.INVALID_SPAN)
        with recorded.provider.get_tracer("x").start_as_current_span("elsewhere", elsewhere):
            await app.publish("end", body)

    async with TestApp(app) as t:
        await t.publish("jobs", 1)
        await t.drain()

    assert parent_of(recorded.one("send app:end")) == id_of(recorded.one(PROCESS))


async def test_a_new_trace_with_a_link_if_wanted() -> None:
    recorded = Recorded()
    await passed_on(shop(recorded, process="link"), {"traceparent": OWN})

    process = recorded.one(PROCESS)
    assert (parent_of(process), links_of(process)) == (None, ["0a" * 8])
    assert trace_of(recorded.one("send app:end")) == trace_of(process) != "4b" * 16


ENDINGS: list[tuple[Any, str, list[str]]] = [
    (lambda: False, "false", []),
    (lambda: None, "returned", []),
    (Retry("later", after=1), "retry", ["retry"]),
    (Reject("bad"), "reject", ["exception"]),
    (Snooze(1), "snooze", []),
    (ValueError("password=hunter2"), "error", ["exception"]),
]


@pytest.mark.parametrize(("ending", "outcome", "events"), ENDINGS, ids=[each[1] for each in ENDINGS])
async def test_how_a_handler_ends_is_said(ending: Any, outcome: str, events: list[str]) -> None:
    recorded = Recorded()
    app = shop(recorded)

    @app.queue("jobs").consumer
    async def handle(body: int, context: Context) -> object:
        if recorded.named(PROCESS):
            return None
        if isinstance(ending, BaseException):
            raise ending
        return ending()

    async with TestApp(app) as t:
        await t.publish("jobs", 1)
        await t.advance("2s")

    first = recorded.named(PROCESS)[0]
    assert attribute(first, "tasuki.outcome") == outcome
    assert [event.name for event in first.events] == events
    assert (first.status.status_code.name == "ERROR") == (outcome in ("false", "reject", "error"))
    assert "hunter2" not in first.to_json()


async def test_a_batch_is_one_span_with_a_link_to_each_message() -> None:
    recorded = Recorded()
    app = shop(recorded)

    @app.queue("jobs").consumer(batch={"size": 3, "wait": "1s"})
    async def handle(bodies: list[int]) -> None:
        await app.publish("end", bodies)

    async with TestApp(app) as t:
        for own in (OWN, OTHER, UNSAMPLED):
            await t.publish("jobs", 1, {"traceparent": own})
        await t.drain()

    process, settle = recorded.one(PROCESS), recorded.one("settle app:jobs")
    assert (parent_of(process), links_of(process)) == (None, ["0a" * 8, "0b" * 8])
    assert attribute(process, "messaging.batch.message_count") == 3
    assert parent_of(recorded.one("send app:end")) == id_of(process)
    assert links_of(settle) == [id_of(process)]


async def test_a_batch_of_one_trace_stays_in_it() -> None:
    recorded = Recorded()
    app = shop(recorded)

    @app.queue("jobs").consumer(batch={"size": 2, "wait": "1s"})
    async def handle(bodies: list[int]) -> None:
        return None

    async with TestApp(app) as t:
        await app.queue("jobs").publish_many([1, 2])
        await t.drain()

    assert parent_of(recorded.one(PROCESS)) == id_of(recorded.one("send app:jobs"))


@pytest.mark.parametrize("traces", [(UNSAMPLED, UNSAMPLED), (UNSAMPLED, None)])
async def test_a_batch_without_a_recorded_message_has_no_span(traces: Sequence[str | None]) -> None:
    recorded = Recorded()
    app = shop(recorded, sample=0.0)

    @app.queue("jobs").consumer(batch={"size": 2, "wait": "1s"})
    async def handle(bodies: list[int]) -> None:
        await app.publish("end", bodies)

    async with TestApp(app) as t:
        for own in traces:
            await t.publish("jobs", 1, None if own is None else {"traceparent": own})
        await t.drain()
        [headers] = [message.headers for message in await app.queue("end").peek()]

    assert recorded.names == []
    assert is_unsampled(headers["traceparent"])
    assert (headers["traceparent"] == UNSAMPLED) == (traces == (UNSAMPLED, UNSAMPLED))


@pytest.mark.parametrize("given", ["nonsense", 7, f"00-{'0' * 32}-{'0a' * 8}-01", f"00-{'4B' * 16}-{'0a' * 8}-01"])
async def test_a_hostile_context_begins_a_trace(given: HeaderValue) -> None:
    recorded = Recorded()
    state = "x" * 60_000 if given == 7 else "a=1"
    [headers] = await passed_on(shop(recorded), {"traceparent": given, "tracestate": state})

    process = recorded.one(PROCESS)
    assert (parent_of(process), links_of(process)) == (None, [])
    assert headers["traceparent"] == traceparent_of(recorded.one("send app:end"))
    assert "tracestate" not in headers


async def test_the_state_of_a_trace_is_bounded() -> None:
    members = [f"vendor{number}=" + "v" * 90 for number in range(20)]
    [headers] = await passed_on(shop(Recorded()), {"traceparent": OWN, "tracestate": ",".join(members)})

    assert headers["tracestate"] == ",".join(members[:5])


async def test_a_trace_that_is_not_chosen_stays_so() -> None:
    recorded = Recorded()
    app = shop(recorded, sample=0.0)
    seen: list[str | None] = []

    @app.queue("jobs").consumer
    async def handle(body: int, context: Context) -> None:
        await app.publish("middle", body)
        await app.publish("end", body)
        seen.append(context.trace)

    @app.queue("middle").consumer
    async def onward(body: int, context: Context) -> None:
        await app.publish("end", body)
        seen.append(context.trace)

    async with TestApp(app) as t:
        for _ in range(2):
            await t.publish("jobs", 1)
        await t.drain()
        found = [message.headers["traceparent"] for message in await app.queue("end").peek()]

    assert recorded.names == []
    assert all(map(is_unsampled, found))
    assert sorted(found) == sorted(map(str, seen))
    assert len({*found}) == 2


async def test_messages_of_no_trace_that_are_not_chosen_do_not_share_one() -> None:
    """They come from a program without traces: each handler begins one of its own."""
    recorded = Recorded()
    app = shop(recorded, sample=0.0)

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        await app.publish("end", body)
        await app.publish("end", body)

    async with TestApp(app) as t:
        for number in range(3):
            await t.publish("jobs", number, {"traceparent": "none"})
        await t.drain()
        found = [message.headers["traceparent"] for message in await app.queue("end").peek()]

    assert len(found) == 6
    assert len({*found}) == 3


@pytest.mark.parametrize("attach", [True, False])
async def test_other_instrumentation_knows_of_it_if_wanted(attach: bool) -> None:
    recorded = Recorded()
    app = shop(recorded, attach=attach)

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        with recorded.provider.get_tracer("sql").start_as_current_span("SELECT"):
            pass

    async with TestApp(app) as t:
        await t.publish("jobs", 1, {"traceparent": UNSAMPLED})
        await t.drain()

    assert recorded.names == ([] if attach else ["SELECT"])


async def test_a_sampler_that_does_not_obey_the_flag_is_asked() -> None:
    recorded = Recorded(ALWAYS_ON)
    await passed_on(shop(recorded), {"traceparent": UNSAMPLED})

    assert trace_of(recorded.one(PROCESS)) == "4b" * 16


async def test_a_sampler_that_drops_the_trace() -> None:
    recorded = Recorded(ParentBasedTraceIdRatio(0.0))
    [headers] = await passed_on(shop(recorded), {"traceparent": "none"})

    assert recorded.names == []
    assert is_unsampled(headers["traceparent"])


async def test_a_receive_has_a_span_if_wanted() -> None:
    recorded = Recorded()
    app = shop(recorded, receive=True)

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        return None

    async with TestApp(app) as t:
        await app.queue("jobs").publish_many([Envelope(body=1, headers={"traceparent": each}) for each in (OWN, OTHER)])
        await app.publish("jobs", 1, {"traceparent": UNSAMPLED})
        await t.drain()

    received = recorded.named("receive app:jobs")
    assert [link for span in received for link in links_of(span)] == ["0a" * 8, "0b" * 8]
    assert {span.kind.name for span in received} == {"CLIENT"}


@pytest.mark.parametrize("auto_ack", [True, False])
async def test_nothing_is_kept_of_messages_that_are_over(auto_ack: bool) -> None:
    recorded = Recorded()
    app = shop(recorded)

    @app.queue("jobs").consumer(name="worker", auto_ack=auto_ack)
    async def handle(body: str, context: Context) -> None:
        if body == "lost":
            context.delivery.drop()  # type: ignore[attr-defined]
        if body == "settled":
            context.ack()

    async with app.worker():
        bodies = ["done", *([] if auto_ack else ["lost", "settled"])]
        for body in bodies:
            await app.publish("jobs", body)
        await recorded.until(*[PROCESS] * len(bodies))
        consumer = app._runtime.live().consumers["app:worker"]
        await recorded.wait(lambda: not consumer.now.held)
        assert consumer.tracing is not None
        assert consumer.tracing._open == {}

    links = [link for span in recorded.named("settle app:jobs") for link in links_of(span)]
    assert len(links) == (0 if auto_ack else 2)
