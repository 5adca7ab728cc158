"""Times and durations of the Python API: seconds, texts, ``timedelta``, and ``at`` a moment with its time zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tasuki import App, Context, Envelope, Retry, Snooze
from tasuki.errors import PublishError
from tasuki.testing import TestApp
from tasuki.testing.clock import FakeClock

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
OPENING = datetime(2026, 3, 29, 9, 0, tzinfo=ZoneInfo("Europe/Berlin"))
LEFT = 7.5 * 3600
"""Seconds until then: the clocks go forward that night."""
NAIVE: Any = datetime(2026, 1, 1)


@pytest.mark.parametrize("delay", ["30s", 30, timedelta(minutes=1)])
def test_a_delay_is_not_taken_for_the_reason_of_a_retry(delay: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"write Retry(after={delay!r})")):
        Retry(delay)
    assert Retry("the shop opens in 30s").reason == "the shop opens in 30s"


async def test_a_message_comes_at_its_time(make_app: Make) -> None:
    app, seen = make_app(), []
    jobs = app.queue("jobs")

    @jobs.task
    async def take(n: int) -> int:
        seen.append(n)
        return n

    async with TestApp(app, now=NOW) as t:
        await take.with_options(at=OPENING).publish(1)
        await jobs.publish_many([Envelope(body={"n": 2}, headers={"message_type": "take"}, at=OPENING)])
        await app.publish(jobs, {"n": 3}, {"message_type": "take"}, at=OPENING)
        assert [sent.delay for sent in t.messages("jobs")] == [LEFT] * 3
        await t.advance(LEFT - 1)
        assert seen == []
        await t.advance(timedelta(seconds=1))
        assert sorted(seen) == [1, 2, 3]
        assert await take.with_options(at=OPENING + timedelta(hours=1), reply_timeout="2h").request(4) == 4


@pytest.mark.parametrize(
    ("act", "attempts", "outcome"),
    [
        (lambda context: _raise(Retry(at=OPENING)), [1, 2], "nack"),
        (lambda context: _raise(Snooze(at=OPENING)), [1, 1], "snooze"),
        (lambda context: context.nack(at=OPENING), [1, 2], "nack"),
        (lambda context: context.snooze(at=OPENING), [1, 1], "snooze"),
    ],
)
async def test_a_handler_names_the_time_of_the_next_delivery(
    make_app: Make, act: Callable[[Context], None], attempts: list[int], outcome: str
) -> None:
    app, seen = make_app(), []
    jobs = app.queue("jobs")

    @jobs.consumer
    async def handle(body: int, context: Context) -> None:
        seen.append(context.attempt)
        if len(seen) == 1:
            act(context)

    async with TestApp(app, now=NOW) as t:
        await jobs.publish(1)
        await t.drain()
        (waiting,) = t.waiting(jobs)
        assert waiting.due_in == LEFT
        await t.advance("7h29m")
        assert len(seen) == 1
        await t.advance("1m")
        assert seen == attempts
        assert t.settled(jobs) == [outcome, "ack"]


def _raise(error: Exception) -> None:
    raise error


async def test_a_time_without_a_time_zone_is_refused(make_app: Make) -> None:
    app, errors = make_app(), []
    jobs = app.queue("jobs")

    @jobs.consumer
    async def handle(body: int, context: Context) -> None:
        for settle in (context.nack, context.snooze):
            with pytest.raises(ValueError, match="at must be a datetime with a time zone") as caught:
                settle(at=NAIVE)
            errors.append(caught)
        raise Retry(at=NAIVE)

    async with TestApp(app) as t:
        for publish in (jobs.publish, jobs.request):
            with pytest.raises(PublishError, match=r"at must be a datetime with a time zone, not datetime\.datetime"):
                await publish(1, at=NAIVE)
        assert t.published(jobs) == []
        await jobs.publish(1)
        await t.drain()
        assert len(errors) == 2
        assert t.settled(jobs) == ["nack"]
        (failure,) = t.errors
        assert "at must be a datetime with a time zone" in str(failure.error)


async def test_a_close_takes_any_duration(make_app: Make) -> None:
    app = make_app()
    app.queue("jobs")
    timeouts: list[Any] = ["1s", timedelta(seconds=1), 1]
    for timeout in timeouts:
        await app.open()
        await app.close(timeout)
        assert not app.is_open
    with pytest.raises(ValueError, match="'soon' is not a duration"):
        await app.close("soon")


def test_a_clock_is_advanced_by_any_duration() -> None:
    clock = FakeClock(0)
    durations: list[Any] = [1, "1m", timedelta(hours=1)]
    for duration in durations:
        clock.advance(duration)
    assert (clock.time(), clock.monotonic()) == (3661, 3661)
    with pytest.raises(ValueError, match="time cannot go back"):
        clock.advance(-1)
