"""Workers and schedules: what runs, what happened, what comes next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.desk.site import Site
from tasuki.state.worker_record import Presence, PresentConsumer, encode
from tests.unit.top.conftest import Sit
from tests.unit.top.seat import Seat

pytestmark = pytest.mark.anyio


@pytest.fixture
async def release(app: App) -> AsyncIterator[asyncio.Event]:
    """A consumer of ``slow`` runs a message until this is set."""
    event, started = asyncio.Event(), asyncio.Event()
    await app.close()
    slow = app.queue("slow")

    @slow.consumer(name="sleeper", concurrency=3)
    async def sleep(body: object) -> None:
        started.set()
        await event.wait()

    await app.start()
    await app.publish("slow", {"n": 1})
    await started.wait()
    yield event
    event.set()


async def test_a_worker_shows_what_it_runs(app: App, sit: Sit, release: asyncio.Event) -> None:
    async with sit(app, size=(110, 24)) as seat:
        workers = await seat.press("3")
        assert "1/4" in workers
        assert "app:sleeper" in workers
        await seat.press("enter")
        assert "app:sleeper" in seat.text
        assert "1/3" in seat.text
        assert "app:sleep" in seat.rows[-1] or "app:sleep" in seat.text


async def test_a_consumer_is_paused_and_resumed(app: App, sit: Sit, release: asyncio.Event) -> None:
    release.set()
    async with sit(app, size=(110, 24)) as seat:
        await seat.press("3", "enter", "slash")
        await seat.type("sleeper")
        await seat.press("enter")
        assert "app:sleeper is paused." in await seat.press("p")
        assert seat.rows[0].startswith("‖ app:sleeper")
        assert "app:sleeper is resumed." in await seat.press("p")


async def test_a_running_message_is_explained_and_cancelled(app: App, sit: Sit, release: asyncio.Event) -> None:
    async with sit(app, size=(110, 40)) as seat:
        await seat.press("1", "slash")
        await seat.type("slow")
        await seat.press("enter")
        assert "running" in await seat.press("enter")
        message = await seat.press("enter")
        assert "running on" in message
        assert "Cancel message" in await seat.press("K")
        await seat.press("enter")


async def test_events_of_a_worker(tmp_path: Path, sit: Sit) -> None:
    app, release, started = App(f"sqlite:///{tmp_path}/q.db", root=tmp_path), asyncio.Event(), asyncio.Event()
    slow = app.queue("slow")

    @slow.consumer(name="sleeper")
    async def sleep(body: object) -> None:
        started.set()
        await release.wait()

    async with app.worker():
        await app.publish("slow", {"n": 1})
        await started.wait()
        async with sit(app, size=(110, 24), site=Site(reader_of(app), None, opens=True)) as seat:
            await seat.press("3", "enter")
            assert "o events" in seat.foot
            events = await seat.press("o")
            assert "started" in events
            assert "received" in events
            for _ in range(7):
                assert len((await seat.press("s")).splitlines()) == 24
            await seat.press("y")
            assert len(seat.top.copied) == 36
        release.set()


async def test_no_worker_says_how_to_start_one(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "tasuki run" in await seat.press("3")


async def test_schedules_stand_with_their_times_and_are_paused_and_run(app: App, sit: Sit) -> None:
    async with sit(app, size=(110, 24)) as seat:
        text = await seat.press("4")
        assert "every 1h" in text
        assert "app:hourly is paused." in await seat.press("p")
        assert seat.rows[0].startswith("‖ app:hourly")
        await seat.press("p")
        assert "Publish now the message of schedule app:hourly?" in await seat.press("n")
        await seat.press("enter")
        assert (await app._runtime.queue("images").depth()).ready == 1
        for _ in range(7):
            await seat.press("s")
        assert "app:images" in await seat.press("enter")


async def test_without_a_schedule_it_says_how_to_declare_one(sit: Sit) -> None:
    app = App("memory://")
    app.queue("plain")
    async with app, sit(app) as seat:
        assert '@app.every("30s", queue="ticks")' in await seat.press("4")


async def test_a_lost_worker_is_shown_until_it_is_acknowledged(tmp_path: Path, sit: Sit) -> None:
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    app.queue("mails").consumer(name="sender")(send)
    async with app:
        await app.publish("mails", 1)
        state = app._runtime.live().state_of("app:mails")
        assert state is not None
        store = await state.store()
        now = await store.time()
        consumers = [PresentConsumer("app:sender", "mails", "app:driver", 1)]
        killed = Presence("web", 7, "1", now - 90, now - 60, consumers)
        await store.put(killed.key, encode(killed))
        async with sit(app, size=(110, 24), site=Site(reader_of(app), None, opens=True)) as seat:
            assert "No worker gives a sign of life. Start one: tasuki run  (and 1 more)" in seat.text
            assert [row.split()[:2] for row in await rows_of_workers(seat)] == [["!", "web:7"]]
            assert "silent" in seat.rows[0]
            assert "Acknowledge silent worker web:7 of app:mails?" in await seat.press("a")
            assert "Acknowledged: worker web:7 is gone." in await seat.press("enter")
            assert "No worker is alive. Start one: tasuki run" in seat.text
        assert await store.get(killed.key) is None


async def send(mail: object) -> None: ...


async def rows_of_workers(seat: Seat) -> list[str]:
    await seat.press("3")
    return seat.rows
