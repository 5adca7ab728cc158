"""The spans of publishes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBasedTraceIdRatio, Sampler, SamplingResult

from tasuki import App, Context
from tasuki.errors import QueueFullError
from tasuki.message import BAGGAGE, TRACEPARENT, HeaderValue
from tasuki.observe.trace import CURRENT, is_unsampled
from tasuki.queues.queue import Envelope
from tasuki.testing import TestApp
from tasuki.tracing import spans
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


def shop(recorded: Recorded, **fields: Any) -> App:
    app = App("memory://")
    app.queue("jobs")
    app.traces(recorded.provider, **fields)
    return app


async def headers_in(app: App, queue: str = "jobs") -> list[dict[str, HeaderValue]]:
    return [message.headers for message in await app.queue(queue).peek(100)]


async def test_the_context_of_the_span_is_that_of_the_message() -> None:
    recorded = Recorded()
    async with (app := shop(recorded)):
        await app.publish("jobs", 1)
        [headers] = await headers_in(app)

    assert headers["traceparent"] == traceparent_of(recorded.one("send app:jobs"))
    assert headers.keys() == {"timestamp", "traceparent"}


async def test_a_publish_is_below_the_span_of_its_code() -> None:
    recorded = Recorded()
    async with (app := shop(recorded)):
        with recorded.provider.get_tracer("web").start_as_current_span("GET /"):
            await app.publish("jobs", 1)

    assert parent_of(recorded.one("send app:jobs")) == id_of(recorded.one("GET /"))


async def test_code_that_is_not_recorded_hands_on_its_context() -> None:
    recorded = Recorded(ParentBasedTraceIdRatio(0.0))
    async with (app := shop(recorded)):
        with recorded.provider.get_tracer("web").start_as_current_span("GET /") as span:
            await app.publish("jobs", 1)
        [headers] = await headers_in(app)

    assert recorded.names == []
    own = span.get_span_context()
    assert str(headers["traceparent"])[:-2] == f"00-{own.trace_id:032x}-{own.span_id:016x}-"
    assert is_unsampled(headers["traceparent"])


async def test_a_batch_shares_one_context_and_leaves_own_ones_alone() -> None:
    recorded = Recorded()
    async with (app := shop(recorded)):
        await app.queue("jobs").publish_many([1, 2, Envelope(body=3, headers={"traceparent": OWN})])
        found = await headers_in(app)

    send = recorded.one("send app:jobs")
    assert [each["traceparent"] for each in found] == [traceparent_of(send), traceparent_of(send), OWN]
    assert attribute(send, "messaging.batch.message_count") == 3
    assert (send.kind.name, links_of(send)) == ("PRODUCER", ["0a" * 8])


async def test_a_span_for_each_message_if_wanted() -> None:
    recorded = Recorded()
    async with (app := shop(recorded, create=True)):
        await app.queue("jobs").publish_many([1, 2, Envelope(body=3, headers={"traceparent": OWN})])
        found = await headers_in(app)

    created, send = recorded.named("create app:jobs"), recorded.one("send app:jobs")
    assert [each["traceparent"] for each in found] == [*map(traceparent_of, created), OWN]
    assert {span.kind.name for span in created} == {"PRODUCER"}
    assert send.kind.name == "CLIENT"
    assert sorted(links_of(send)) == sorted([*map(id_of, created), "0a" * 8])


@pytest.mark.parametrize("own", [OWN, UNSAMPLED])
async def test_a_publishers_own_context_is_never_replaced(own: str) -> None:
    recorded = Recorded()
    async with (app := shop(recorded)):
        with recorded.provider.get_tracer("web").start_as_current_span("GET /"):
            await app.publish("jobs", 1, {"traceparent": own, "tracestate": "a=1"})
        await app.publish("jobs", 2, {"traceparent": own})
        found = await headers_in(app)

    assert [each["traceparent"] for each in found] == [own, own]
    assert found[0]["tracestate"] == "a=1"


async def test_what_is_not_valid_is_the_publishers_own_too() -> None:
    recorded = Recorded()
    async with (app := shop(recorded)):
        await app.publish("jobs", 1, {"traceparent": "nonsense"})
        [headers] = await headers_in(app)

    assert headers["traceparent"] == "nonsense"
    assert links_of(recorded.one("send app:jobs")) == []


async def test_a_trace_that_is_not_chosen_calls_no_tracer_and_is_handed_on() -> None:
    class Silent:
        def get_tracer(self, *args: object, **options: object) -> Silent:
            return self

        def start_span(self, *args: object, **options: object) -> None:
            raise AssertionError("an unwanted span")

    app = App("memory://")
    app.traces(Silent(), sample=0.0)
    app.queue("jobs")
    async with app:
        await app.publish("jobs", 1)
        await app.queue("jobs").publish_many([2, 3])
        first, *rest = [each["traceparent"] for each in await headers_in(app)]

    assert is_unsampled(first)
    assert len({*rest}) == 1
    assert first not in rest


async def test_a_sampler_that_drops_the_trace_is_handed_on_too() -> None:
    recorded = Recorded(ParentBasedTraceIdRatio(0.0))
    async with (app := shop(recorded)):
        await app.publish("jobs", 1)
        [headers] = await headers_in(app)

    assert recorded.names == []
    assert is_unsampled(headers["traceparent"])


async def test_a_sampler_that_does_not_obey_the_flag_is_asked() -> None:
    recorded = Recorded(ALWAYS_ON)
    async with (app := shop(recorded)):
        mark = CURRENT.set({"traceparent": UNSAMPLED})
        await app.publish("jobs", 1)
        CURRENT.reset(mark)

    assert trace_of(recorded.one("send app:jobs")) == "4b" * 16


async def test_without_a_provider_the_trace_goes_on_all_the_same() -> None:
    app = App("memory://")
    app.traces()
    app.queue("jobs")
    async with app:
        mark = CURRENT.set({"traceparent": OWN})
        await app.publish("jobs", 1)
        CURRENT.reset(mark)
        await app.publish("jobs", 2)
        first, second = await headers_in(app)

    assert first["traceparent"] == OWN
    assert "traceparent" not in second


async def test_a_failed_publish_is_an_error_of_its_span() -> None:
    recorded = Recorded()
    app = App("memory://")
    app.queue("jobs", max_length=1, overflow="reject")
    app.traces(recorded.provider)
    async with app:
        await app.publish("jobs", 1)
        with pytest.raises(QueueFullError):
            await app.publish("jobs", 2)
        await app.queue("jobs").purge()
        await app.queue("jobs").publish_many([1, 2])

    _, failed, partly = recorded.named("send app:jobs")
    assert (failed.status.status_code.name, attribute(failed, "error.type")) == (
        "ERROR",
        "tasuki.errors.QueueFullError",
    )
    assert (attribute(failed, "tasuki.outcome"), attribute(partly, "tasuki.outcome")) == ("rejected", "mixed")


async def test_a_unique_message_that_is_not_stored_says_so() -> None:
    recorded = Recorded()
    async with (app := shop(recorded)):
        for _ in range(2):
            await app.publish("jobs", 1, unique="one")

    assert [attribute(span, "tasuki.outcome") for span in recorded.named("send app:jobs")] == ["confirmed", "kept"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_baggage_is_handed_on_where_it_is_wanted(wanted: bool) -> None:
    recorded = Recorded()
    async with (app := shop(recorded, baggage=wanted)):
        token = context.attach(baggage.set_baggage("tenant", "acme", trace.set_span_in_context(trace.INVALID_SPAN)))
        with recorded.provider.get_tracer("web").start_as_current_span("GET /"):
            await app.publish("jobs", 1)
        context.detach(token)
        mark = CURRENT.set({"traceparent": UNSAMPLED, "baggage": "tenant=acme"})
        await app.publish("jobs", 2)
        CURRENT.reset(mark)
        found = await headers_in(app)

    assert [each.get("baggage") for each in found] == ["tenant=acme" if wanted else None] * 2


class Failing(SpanProcessor, Sampler):
    """Raises at one of its calls."""

    def __init__(self, place: str) -> None:
        self._place = place

    def _fail_at(self, place: str) -> None:
        if place == self._place:
            raise ZeroDivisionError(f"it fails at {place}")

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._fail_at("start")

    def on_end(self, span: Any) -> None:
        self._fail_at("end")

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        self._fail_at("sample")
        return ALWAYS_ON.should_sample(*args, **kwargs)

    def get_description(self) -> str:
        return "Failing"


@pytest.mark.parametrize("place", ["start", "end", "sample"])
async def test_a_message_is_published_handled_and_settled_once(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spans, "_told", set())
    failing = Failing(place)
    provider = TracerProvider(sampler=failing)
    provider.add_span_processor(failing)
    app, seen = App("memory://"), list[int]()
    app.traces(provider, create=True, receive=True)

    @app.queue("jobs").consumer
    async def handle(body: int) -> None:
        seen.append(body)
        await app.publish("end", body)

    @app.queue("end").consumer(batch={"size": 2})
    async def end(bodies: list[int]) -> None:
        seen.append(-len(bodies))

    async with TestApp(app) as t:
        await t.publish("jobs", 1)
        await t.publish("jobs", 2, headers={TRACEPARENT: OWN})
        assert (await t.drain()).failed == 0
    assert sorted(number for number in seen if number > 0) == [1, 2]
    assert sum(number for number in seen if number < 0) == -2
    assert [record.name for record in caplog.records].count("tasuki.tracing") == 1


def test_baggage_that_cannot_be_encoded_is_left_out() -> None:
    tracer = spans.Spans(TracerProvider(), with_baggage=True)
    parent = {TRACEPARENT: OWN}
    known = [tracer.context_of({**parent, BAGGAGE: text}) for text in ("a=1", "a=1,b=\ud800")]
    begun = [tracer.begin("x", spans.SpanKind.CONSUMER, {}, each) for each in known]
    assert [each.headers.get(BAGGAGE) for each in begun] == ["a=1", None]


def test_a_provider_that_is_set_late_is_asked_about_messages_that_are_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider: trace.TracerProvider = trace.ProxyTracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracer = spans.Spans()
    assert not tracer.obeys_the_flag  # so the next message begins a span, which looks
    provider = TracerProvider(sampler=ALWAYS_ON)
    tracer.begin("x", spans.SpanKind.CONSUMER, {})
    assert not tracer.obeys_the_flag
    provider = TracerProvider()
    tracer.begin("x", spans.SpanKind.CONSUMER, {})
    assert tracer.obeys_the_flag


class OddSpan(trace.NonRecordingSpan):
    """Of a provider that is not the SDK's: it takes nothing."""

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        raise ZeroDivisionError(key)

    def add_event(self, *args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    def set_status(self, *args: Any) -> None:
        raise ZeroDivisionError


class OddProvider(trace.TracerProvider, trace.Tracer):
    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return self

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return OddSpan(trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1)))

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def test_a_span_that_takes_nothing_changes_no_outcome(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spans, "_told", set())
    app, results = App("memory://"), list[str]()
    app.traces(OddProvider())
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    async def handle(body: int, context: Context) -> None:
        context.progress(1, 2)
        results.append("progress")
        if body:
            raise ValueError(body)

    async with TestApp(app) as t:
        await t.publish("jobs", 0)
        await t.publish("jobs", 1)
        await t.drain()
        assert [letter.error for letter in t.dead] == ["ValueError: 1"]
    assert len(results) == 2
    assert [record.name for record in caplog.records].count("tasuki.tracing") == 1
