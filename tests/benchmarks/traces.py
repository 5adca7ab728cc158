"""What traces cost a message: off, at 1 %, always; runs of the cases take turns, and the cheapest of each counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tasuki import App
from tests.benchmarks.load import BATCH, BODY

CASES: dict[str, dict[str, Any] | None] = {
    "no traces": None,
    "traces, 0 % recorded": {"sample": 0.0},
    "traces, 1 % recorded": {"sample": 0.01},
    "traces, 1 %, attach: true": {"sample": 0.01, "attach": True},
    "traces, all recorded": {"sample": 1.0},
}


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def _app(fields: dict[str, Any] | None) -> App:
    app = App("memory://")
    if fields is not None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
        app.traces(provider, **fields)

    @app.queue("load").consumer(concurrency=10, prefetch=500)
    async def noop(body: dict[str, Any]) -> None:
        return None

    return app


async def _publish_in_batches(app: App, messages: int) -> None:
    for _ in range(0, messages, BATCH):
        await app.queue("load").publish_many([BODY] * BATCH)


async def _publish_each(app: App, messages: int) -> None:
    queue = app._runtime.queue("load")
    for _ in range(messages):
        await queue.publish(BODY)


async def _run(fields: dict[str, Any] | None, messages: int, publish: Any) -> tuple[float, float]:
    """Nanoseconds of CPU a message, to publish and to handle it."""
    app = _app(fields)
    async with app:
        before = time.process_time_ns()
        await publish(app, messages)
        published = time.process_time_ns()
        await app.start()
        (consumer,) = app._runtime.live().consumers.values()
        while consumer.metrics.acked < messages:
            await asyncio.sleep(0.002)
        done = time.process_time_ns()
    return (published - before) / messages, (done - published) / messages


def report(messages: int = 50_000, repeats: int = 7) -> None:
    """Print one line a case."""
    ways: dict[str, tuple[Callable[..., Any], int]] = {
        "published in batches": (_publish_in_batches, messages),
        "published one by one": (_publish_each, messages // 5),
    }
    for how, (publish, count) in ways.items():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
        for _ in range(repeats):
            for name, fields in CASES.items():
                found[name].append(asyncio.run(_run(fields, count, publish)))
        best = {name: tuple(min(each) for each in zip(*runs, strict=True)) for name, runs in found.items()}
        base = best["no traces"]
        for name, (sent, handled) in best.items():
            print(
                f"  {how}: {name:27} publish {sent:7.0f} ns (+{sent - base[0]:6.0f}), "
                f"handle {handled:7.0f} ns (+{handled - base[1]:6.0f})"
            )
