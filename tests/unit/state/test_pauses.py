"""Pauses and scales: their records, how long they last, and who is paused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasuki.contracts.state.store import Change
from tasuki.state import pauses
from tasuki.state.pauses import Pause, Scale
from tasuki.state.shared import CONTROL, Controls, SharedState
from tasuki.testing.clock import FakeClock
from tasuki.units import When
from tests.support.narrow import present
from tests.support.slow_store import SlowStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_700_000_000.0)


def controls_with(**values: bytes) -> Controls:
    controls = Controls()
    controls._values.update({key.replace("_", "/"): value for key, value in values.items()})
    return controls


def test_records_come_back_as_they_were() -> None:
    pause = Pause(1.5, 60.0, "kana@host", "the API answers 429")
    assert pauses.read_pause(pause.encode()) == pause
    assert str(pause) == "until 1970-01-01T00:01:00Z, by kana@host: the API answers 429"
    assert str(Pause(1.5)) == "until it is resumed"
    assert pauses.read_scale(Scale(3, 1.0, "kana").encode()) == Scale(3, 1.0, "kana")


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"[1]", b'{"at": "x"}', b'{"x":' + b"[" * 100_000], ids=len)
def test_a_record_that_cannot_be_read_is_a_pause_and_no_scale(value: bytes) -> None:
    assert "cannot be read" in str(pauses.read_pause(value))
    assert pauses.read_scale(value) is None


def test_a_consumer_is_paused_by_its_queue_itself_or_a_scale_of_0() -> None:
    one = Pause(1.0, reason="x").encode()
    of = pauses.pause_of_consumer
    assert of(controls_with(), "mails", "c") is None
    assert of(controls_with(pause_queue_mails=one), "mails", "c") == Pause(1.0, reason="x")
    assert of(controls_with(pause_queue_mails2=one), "mails", "c") is None
    assert of(controls_with(pause_consumer_c=one), "mails", "c") == Pause(1.0, reason="x")
    assert of(controls_with(pause_schedule_c=one), "mails", "c") is None
    assert of(controls_with(scale_c=Scale(2, 1.0).encode()), "mails", "c") is None
    scaled = of(controls_with(scale_c=Scale(0, 1.0, "kana").encode()), "mails", "c")
    assert str(scaled) == "until it is resumed, by kana: scaled to 0"


@pytest.mark.parametrize("due", ["10m", 600, timedelta(minutes=10), datetime(2023, 11, 14, 22, 23, 20, tzinfo=UTC)])
async def test_a_pause_with_an_end_is_gone_after_it(state: SharedState, clock: FakeClock, due: When) -> None:
    pause = await pauses.pause(state, "queue", "mails", due=due, actor="kana", reason="429")
    assert pause == Pause(1_700_000_000.0, 1_700_000_600.0, "kana", "429")
    clock.advance(599.9)
    assert await pauses.find_pause(state, "queue", "mails") == pause
    clock.advance(0.2)
    assert await pauses.find_pause(state, "queue", "mails") is None


@pytest.mark.parametrize(
    ("due", "problem"),
    [
        (0, "a pause of 0 is none"),
        ("soon", "not a duration"),
        (datetime(2023, 1, 1, tzinfo=UTC), "a pause until 2023-01-01T00:00:00Z is over: it is 2023-11-14T22:13:20Z"),
        (datetime(2030, 1, 1), "needs a time zone"),
    ],
)
async def test_a_pause_without_a_future_is_refused(state: SharedState, due: When, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        await pauses.pause(state, "queue", "mails", due=due)
    assert await pauses.find_pause(state, "queue", "mails") is None


async def test_one_that_may_not_shorten_leaves_a_longer_pause(state: SharedState) -> None:
    long = await pauses.pause(state, "queue", "mails", due="1h")
    assert await pauses.pause(state, "queue", "mails", due="30s", may_shorten=False) == long
    longer = await pauses.pause(state, "queue", "mails", due="2h", may_shorten=False)
    assert present(longer.until) - present(long.until) == pytest.approx(3600)
    endless = await pauses.pause(state, "queue", "mails")
    assert await pauses.pause(state, "queue", "mails", due="3h", may_shorten=False) == endless
    assert await pauses.pause(state, "queue", "mails", due="30s") != endless


@pytest.mark.parametrize("dues", [("30s", "2h"), ("2h", "30s")])
async def test_of_two_pauses_at_the_same_time_the_longer_one_holds(
    state: SharedState, monkeypatch: pytest.MonkeyPatch, dues: tuple[str, str]
) -> None:
    slow = SlowStore(await state.store())

    async def store() -> Any:
        return slow

    monkeypatch.setattr(state, "store", store)
    found = await asyncio.gather(*(pauses.pause(state, "queue", "mails", due=due, may_shorten=False) for due in dues))
    longer = max(found, key=lambda pause: present(pause.until))
    assert present(longer.until) - longer.at == 7200
    assert await pauses.find_pause(state, "queue", "mails") == longer


async def test_resume_says_what_it_ended(state: SharedState, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasuki.state")
    pause = await pauses.pause(state, "schedule", "app:nightly", actor="kana")
    assert await pauses.resume(state, "schedule", "app:nightly", actor="ken") == pause
    assert await pauses.resume(state, "schedule", "app:nightly", actor="ken") is None
    assert [record.getMessage() for record in caplog.records] == [
        "paused schedule app:nightly until it is resumed, by kana",
        "resumed schedule app:nightly, by ken",
    ]


async def test_this_process_knows_at_once_and_an_older_change_does_not_undo_it(state: SharedState) -> None:
    await pauses.pause(state, "consumer", "app:c")
    assert pauses.pause_in(state.controls, "consumer", "app:c") is not None
    old = present(await (await state.store()).get(CONTROL + "pause/consumer/app:c"))
    await pauses.resume(state, "consumer", "app:c")
    state.controls.apply(Change(*old))
    assert pauses.pause_in(state.controls, "consumer", "app:c") is None
    await pauses.scale(state, "app:c", 3, actor="kana")
    older = present(await (await state.store()).get(CONTROL + "scale/app:c"))
    new = await pauses.scale(state, "app:c", 5)
    state.controls.apply(Change(*older))
    assert pauses.scale_in(state.controls, "app:c") == new
    assert await pauses.find_all(state, "") == {"scale/app:c": new.encode()}
    assert await pauses.reset_scale(state, "app:c")
    assert not await pauses.reset_scale(state, "app:c")


async def test_a_reason_stays_on_one_line(state: SharedState) -> None:
    pause = await pauses.pause(state, "queue", "mails", actor="kana\x1b[2J", reason="first\nsecond\u202e")

    assert (pause.actor, pause.reason) == ("kana\\x1b[2J", "first\\nsecond\\u202e")
    assert str(pauses.Pause(0.0, None, "a\nb", "c\nd")) == "until it is resumed, by a\\nb: c\\nd"
