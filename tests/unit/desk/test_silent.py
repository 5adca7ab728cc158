"""A broker or a store that stands still keeps nothing from the others, and its return is seen soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.app.schedules.statuses import statuses_seen
from tasuki.clock import SystemClock
from tasuki.desk.dead.library import Board
from tasuki.desk.reading.attention import is_failed, notices_of
from tasuki.desk.reading.rows import count
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.site import Site
from tasuki.errors import BrokerTimeoutError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: near, kind: queue.driver.memory}
  - {name: far, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: near}
  - {name: hourly, kind: queue.schedule, queue: mails, every: 1h, body: 1}
  - {name: daily, kind: queue.schedule, queue: far_0, every: 24h, body: 1}
"""
FAR = "".join(f"  - {{name: far_{number}, kind: queue.queue, driver: far}}\n" for number in range(100))


async def silence(*_: Any, **__: Any) -> Any:
    await asyncio.get_running_loop().create_future()


class LoopClock(SystemClock):
    """Goes as the virtual time of the loop does."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    (tmp_path / "tasuki.yaml").write_text(PROJECT + FAR)
    app = App.load(tmp_path)
    async with app:
        await app.publish("mails", 1)
        yield app


async def test_the_queues_of_other_drivers_are_counted(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    live, loop = app._runtime.live(), asyncio.get_running_loop()
    monkeypatch.setattr(live.queues["app:far_0"].driver, "depth", silence)
    began = loop.time()

    counts = await count(live, list(live.queues))

    assert loop.time() - began < 9  # a site waits for ten seconds, then nothing is known
    assert {id: depth.ready for id, depth in counts.depths.items()} == {"app:mails": 1}
    assert counts.asked == {"app:mails"}
    assert set(counts.problems) == {f"app:far_{number}" for number in range(100)}
    assert counts.problems["app:far_0"] == "no answer within 5 s"
    assert counts.problems["app:far_99"] in ("no answer within 5 s", "driver app:far does not answer")


async def test_a_broker_that_is_away_is_not_asked_for_each_of_its_queues(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, asked = app._runtime.live(), 0
    driver = live.queues["app:far_0"].driver

    async def depth(_: str) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(4)
        raise BrokerTimeoutError("no answer", driver="app:far")

    monkeypatch.setattr(driver, "depth", depth)
    counts = await count(live, list(live.queues))

    assert asked <= 16
    assert counts.depths.keys() == {"app:mails"}


async def test_a_store_that_is_silent_is_named(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    live = app._runtime.live()
    state = live.state_of("app:far_0")
    assert state is not None
    monkeypatch.setattr(await state.store(), "list", silence)

    counts = await count(live, list(live.queues))

    assert len(counts.depths) == 101
    assert counts.trouble == ["the store of driver app:far has not answered for 3 s"]
    assert counts.asked == {"app:mails"}
    assert [each.id for each in (await statuses_seen(live)).statuses] == ["app:hourly"]


async def test_its_return_is_seen_in_the_next_snapshot(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(reader_of(app), app, opens=True)
    await site.open()
    try:
        sampler = Sampler(site, LoopClock())
        driver = app._runtime.live().queues["app:far_0"].driver
        with monkeypatch.context() as broken:
            broken.setattr(driver, "depth", silence)
            snapshot = await sampler.latest(now=True)
        assert snapshot.uncounted == 100
        assert snapshot.queues["app:mails"].ready == 1

        await asyncio.sleep(2)
        assert (await sampler.latest()).uncounted == 0
        await sampler.close()
    finally:
        await site.close()


async def test_numbers_from_before_a_silence_are_not_shown_as_the_present(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(reader_of(app), app, opens=True)
    await site.open()
    try:
        sampler = Sampler(site, LoopClock())
        before = await sampler.latest(now=True)
        assert "attention.stale" not in {each.key for each in notices_of(before)}
        with monkeypatch.context() as broken:
            broken.setattr(sampler, "_take", silence)
            await asyncio.sleep(30)
            stale = await sampler.latest()
        assert stale.queues is before.queues, "nothing newer is known yet"
        (notice,) = (each for each in notices_of(stale) if each.key == "attention.stale")
        assert notice.values["age"] >= 30
        assert is_failed(notices_of(stale))
        await sampler.close()
    finally:
        await site.close()


async def test_batches_that_cannot_be_read_are_not_none(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(reader_of(app), app, opens=True)
    await site.open()
    try:
        board = Board(site, app._runtime.clock)
        assert await board.latest() == []
        assert not board.problem
        state = app._runtime.live().state_of("app:far_0")
        assert state is not None
        with monkeypatch.context() as broken:
            broken.setattr(await state.store(), "list", silence)
            board.forget()
            assert await board.latest() == []
            assert board.problem.startswith("no answer within 2 s")
        board.forget()
        await board.latest()
        assert not board.problem
    finally:
        await site.close()
