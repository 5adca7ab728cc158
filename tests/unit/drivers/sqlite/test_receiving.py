"""What a receive takes, and what leases, restarts and lost holders void."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file import connections
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.store import store
from tasuki.testing.clock import FakeClock
from tests.support.settings import parsed
from tests.unit.drivers.sqlite.conftest import message

pytestmark = pytest.mark.anyio


async def test_a_restart_of_the_machine_voids_leases(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await make()
    await before.publish("q", [message()])
    await before.receive("q", 1, 0.0)
    monkeypatch.setattr(connections, "boot_id", lambda: "after")
    after = await make()
    assert [(item.attempt, item.suspect) for item in await after.receive("q", 1, 0.0)] == [(1, True)]


def test_a_machine_without_a_boot_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    assert connections.boot_id() == connections.boot_id()
    monkeypatch.setattr("builtins.open", missing)
    assert connections.boot_id() == ""


async def test_a_holder_whose_file_is_gone_counts_as_dead(make: Any, path: Path) -> None:
    clock = FakeClock()
    driver, other = await make(), await make(clock=clock)
    await driver.publish("q", [message()])
    await driver.receive("q", 1, 0.0)
    for file in Path(f"{path}.holders").iterdir():
        if file.name == driver._guard.get()._database.folder.name:
            file.unlink()
    clock.advance(2.0)
    assert (await other.depth("q")).in_flight == 0


async def test_a_receive_stops_at_a_number_of_bytes(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await make()
    await driver.publish("q", [message(str(number), b"x" * 100) for number in range(10)])
    monkeypatch.setattr(store, "MAX_CLAIM_BYTES", 250)
    assert [item.id for item in await driver.receive("q", 10, 0.0)] == ["0", "1", "2"]
    monkeypatch.undo()
    assert len(await driver.receive("q", 10, 0.0)) == 7


async def test_a_due_crowd_surfaces_in_parts(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    driver = await make(clock=clock)
    await driver.publish("q", [message(str(number), delay=1.0) for number in range(25)])
    monkeypatch.setattr(store, "SURFACED", 10)
    clock.advance(2.0)
    assert len(await driver.receive("q", 100, 0.0)) == 10
    depth = await driver.depth("q")
    assert (depth.ready, depth.delayed) == (15, 0)


def test_messages_taken_for_a_loop_that_ended_are_released(path: Path) -> None:
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=path))

    async def start() -> None:
        await driver.open()
        await driver.declare(QueueSpec("q"))
        asyncio.get_running_loop().create_task(driver.receive("q", 5, 60.0))
        await asyncio.sleep(0.05)

    async def go_on() -> None:
        await driver.publish("q", [message()])
        (got,) = await driver.receive("q", 1, 5.0)
        assert got.attempt == 1
        await driver.close()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()
    loop.close()
    asyncio.run(go_on())
