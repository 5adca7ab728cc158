"""OpenTelemetry fails: its samplers and processors are the user's code, and no message suffers from them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult

from tasuki import App, Context
from tasuki.message import BAGGAGE, TRACEPARENT
from tasuki.testing import TestApp
from tasuki.tracing import spans

pytestmark = pytest.mark.anyio


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
        await t.publish("jobs", 2, headers={TRACEPARENT: f"00-{'4b' * 16}-{'0a' * 8}-01"})
        assert (await t.drain()).failed == 0
    assert sorted(number for number in seen if number > 0) == [1, 2]
    assert sum(number for number in seen if number < 0) == -2
    assert [record.name for record in caplog.records].count("tasuki.tracing") == 1


def test_baggage_that_cannot_be_encoded_is_left_out() -> None:
    tracer = spans.Spans(TracerProvider(), with_baggage=True)
    parent = {TRACEPARENT: f"00-{'4b' * 16}-{'0a' * 8}-01"}
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
