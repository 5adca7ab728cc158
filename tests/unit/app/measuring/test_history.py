"""Each process writes its minutes, and readers add them up; a quiet process writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.measuring.history import PREFIX, WANTED, History
from tasuki.contracts.state.store import Entry
from tasuki.testing.clock import FakeClock, VirtualTimeLoop, virtual_time

pytestmark = pytest.mark.anyio


def make(folder: Path, clock: FakeClock) -> App:
    """An app on a database, as each process has it."""
    app = App(f"sqlite:///{folder / 'queue.db'}", root=folder, clock=clock)
    mail = app.queue("mail")
    app.queue("other")

    @mail.consumer(name="sender", lifecycle={"auto_start": False})
    async def send(body: Any) -> None: ...

    return app


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def pair(tmp_path: Path, clock: FakeClock) -> AsyncIterator[tuple[App, App]]:
    apps = make(tmp_path, clock), make(tmp_path, clock)
    async with apps[0], apps[1]:
        yield apps


def history(app: App) -> History:
    found = app._runtime.history
    assert found is not None
    return found


async def entries(app: App) -> list[Entry]:
    assert app._runtime.assembly is not None
    state = app._runtime.assembly.state_of("app:mail")
    assert state is not None
    page = await (await state.store()).list(PREFIX)
    return list(page.entries)


async def pass_a_minute(app: App, clock: FakeClock) -> None:
    """Let the process notice that a minute is over, and write it at once."""
    clock.advance(60)
    own = history(app)
    own._tick()  # as its timer does every five seconds
    await own._write_pending()


async def test_processes_write_their_minutes_and_are_added_up(pair: tuple[App, App], clock: FakeClock) -> None:
    first, second = pair
    await first.publish("mail", 1)
    await second.publish("mail", 2)
    for app in pair:
        await pass_a_minute(app, clock)

    assert len(await entries(first)) == 2
    for app in pair:
        minutes = await app.queue("mail").history()
        assert len(minutes) == 60
        assert sum(each.published for each in minutes) == 2
    assert sum(each.published for each in await first.queue("other").history()) == 0


async def test_a_quiet_process_writes_nothing(pair: tuple[App, App], clock: FakeClock) -> None:
    for _ in range(3):
        await pass_a_minute(pair[0], clock)

    assert await entries(pair[0]) == []
    assert history(pair[0]).kept(pair[0]._runtime.assembly.state_of("app:mail")) == []  # type: ignore[union-attr]


async def test_a_process_that_closes_writes_what_is_left(tmp_path: Path, clock: FakeClock) -> None:
    app = make(tmp_path, clock)
    async with app:
        await entries(app)  # its store is open, as a worker's is
        await app.publish("mail", 1)
    async with make(tmp_path, clock) as other:
        assert sum(each.published for each in await other.queue("mail").history()) == 1


async def test_a_process_that_only_publishes_for_a_moment_opens_no_store(tmp_path: Path, clock: FakeClock) -> None:
    app = make(tmp_path, clock)
    async with app:
        await app.publish("mail", 1)
        assert app._runtime.assembly is not None
        state = app._runtime.assembly.state_of("app:mail")
    assert state is not None
    assert state.opened is None
    async with make(tmp_path, clock) as other:
        assert await entries(other) == []


async def test_a_script_that_publishes_many_says_so(tmp_path: Path, clock: FakeClock) -> None:
    async with make(tmp_path, clock) as app:
        await app._runtime.queue("mail").publish_many(list(range(50)))
    async with make(tmp_path, clock) as other:
        assert sum(each.published for each in await other.queue("mail").history()) == 50


async def test_waits_are_counted_once_they_are_wanted(pair: tuple[App, App], clock: FakeClock) -> None:
    worker, reader = pair
    assert worker._runtime.assembly is not None
    consumer = worker._runtime.assembly.consumers["app:sender"]
    await worker.publish("mail", 1)
    await pass_a_minute(worker, clock)
    assert consumer.metrics.waits is None

    await reader.queue("mail").history()
    assert reader._runtime.assembly is not None
    state = reader._runtime.assembly.state_of("app:mail")
    assert state is not None
    assert await (await state.store()).get(WANTED) is not None
    await worker.publish("mail", 1)
    await pass_a_minute(worker, clock)

    assert consumer.metrics.waits is not None


async def test_a_process_keeps_an_hour(tmp_path: Path, clock: FakeClock) -> None:
    app = App("memory://", root=tmp_path, clock=clock)
    app.queue("mail")
    async with app:
        for _ in range(70):
            await app.publish("mail", 1)
            await pass_a_minute(app, clock)
        assert app._runtime.assembly is not None
        assert len(history(app).kept(app._runtime.assembly.state_of("app:mail"))) == 64
        assert sum(each.published for each in await app.queue("mail").history()) == 59  # the last minute is not over


async def test_a_thousand_queues_are_few_keys(tmp_path: Path, clock: FakeClock) -> None:
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path, clock=clock)
    app.queue("mail")
    for number in range(1000):
        app.queue(f"queue-{number:04}")
    async with app:
        assert app._runtime.assembly is not None
        for queue in app._runtime.assembly.queues.values():
            queue.metrics.published += 5
        await pass_a_minute(app, clock)

        written = await entries(app)
        assert len(written) == 1
        assert len(written[0].value) < 80_000


async def test_a_loop_that_has_ended_ends_the_clock(tmp_path: Path, clock: FakeClock) -> None:
    app = make(tmp_path, clock)

    async def leave_open() -> None:
        await app.open()

    await asyncio.to_thread(asyncio.run, leave_open())
    async with app:
        await app.publish("mail", 1)
        await pass_a_minute(app, clock)
        assert len(await entries(app)) == 1


def test_a_minute_has_what_happened_in_it(tmp_path: Path) -> None:
    """Also in a process that has started in the middle of a step."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        await asyncio.sleep(57.5 - loop.clock.time() % 60)
        app = App("memory://", root=tmp_path, clock=loop.clock)
        app.queue("mail")
        async with app:
            await app.publish("mail", 1)
            await asyncio.sleep(3.5)  # the next minute is a second old
            await app._runtime.queue("mail").publish_many([2, 3])
            await asyncio.sleep(60)
            return [each.published for each in (await app.queue("mail").history())[-3:-1]]

    with virtual_time() as runner:
        assert runner.run(main()) == [1, 2]
