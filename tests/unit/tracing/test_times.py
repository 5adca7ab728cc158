"""Spans that need time to pass."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tasuki import App, Context
from tests.support.recorded import Recorded, attribute, parent_of, trace_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


def virtual_app() -> App:
    clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    return App("memory://", clock=clock)


async def test_a_handler_that_takes_too_long_and_says_how_far_it_is() -> None:
    recorded = Recorded()
    app = virtual_app()
    app.traces(recorded.provider)

    @app.queue("jobs", result={"ttl": "1h"}).consumer(handler_timeout="1s")
    async def handle(body: int, context: Context) -> None:
        if context.attempt == 1:
            context.progress(1, 2, "half")
            await asyncio.sleep(60)

    async with app.worker():
        await app.publish("jobs", 1)
        await recorded.until(*["process app:jobs"] * 2)

    first, second = recorded.named("process app:jobs")
    assert [event.name for event in first.events] == ["progress", "timeout", "exception"]
    assert dict(first.events[0].attributes or {}) == {"done": 1, "total": 2, "note": "half"}
    assert [attribute(span, "tasuki.outcome") for span in (first, second)] == ["interrupted", "returned"]


async def test_each_tick_of_a_schedule_begins_a_trace() -> None:
    recorded = Recorded()
    app = virtual_app()
    app.traces(recorded.provider)
    jobs = app.queue("jobs")
    seen: list[int] = []

    @jobs.every(timedelta(seconds=10))
    async def first() -> None:
        seen.append(1)

    @jobs.every(timedelta(seconds=10))
    async def second() -> None:
        seen.append(2)

    async with app.worker():
        await recorded.wait(lambda: len(seen) >= 4)

    sends = recorded.named("send app:jobs")
    assert len(sends) >= 4
    assert len({trace_of(span) for span in sends}) == len(sends)
    assert {parent_of(span) for span in sends} == {None}
    assert {attribute(span, "messaging.batch.message_count") for span in sends} == {None}
    assert {trace_of(span) for span in recorded.named("process app:jobs")} <= {trace_of(span) for span in sends}


async def test_ticks_that_are_not_chosen_are_of_traces_of_their_own_too() -> None:
    recorded = Recorded()
    app = virtual_app()
    app.traces(recorded.provider, sample=0.0)
    jobs = app.queue("jobs")
    seen: list[str | None] = []

    @jobs.every("10s")
    async def first(context: Context) -> None:
        seen.append(context.trace)

    @jobs.every("10s")
    async def second(context: Context) -> None:
        seen.append(context.trace)

    async with app.worker():
        await recorded.wait(lambda: len(seen) >= 4)

    assert recorded.names == []
    assert None not in seen
    assert len({*seen}) == len(seen)
