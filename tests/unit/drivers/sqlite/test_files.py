"""The file: its options, its version, its log, its temporary queues, and what it forgets."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file import connections, errors
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.thread.requests import Call
from tasuki.errors import DriverError, QueueFullError, QueueNotFoundError
from tasuki.testing.conformance import ShiftedClock
from tests.support.settings import parsed
from tests.unit.drivers.sqlite.conftest import message

pytestmark = pytest.mark.anyio


async def test_durability_is_what_the_setting_gives(path: Path) -> None:
    assert SQLiteDriver("d", parsed(SQLiteSettings, path=path)).durability == "power"
    assert SQLiteDriver("d", parsed(SQLiteSettings, path=path, synchronous="normal")).durability == "broker"
    with pytest.raises(ValidationError, match="synchronous"):
        parsed(SQLiteSettings, path=path, synchronous="off")


async def test_the_first_declared_queue_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "queue.db"
    driver = SQLiteDriver("d", parsed(SQLiteSettings, path=path))
    await driver.open()
    with pytest.raises(QueueNotFoundError, match="does not exist"):
        await driver.inspect(QueueSpec("q"))
    for verb in (driver.depth("q"), driver.peek("q", 1), driver.purge("q"), driver.delete("q")):
        with pytest.raises(QueueNotFoundError):
            await verb
    await driver.undeclare("q")
    await driver.close()
    assert not path.parent.exists()
    await driver.open()
    await driver.declare(QueueSpec("q"))
    assert path.exists()
    assert (await driver.depth("q")).ready == 0
    await driver.close()


async def test_a_path_where_no_file_can_be_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    for path in (tmp_path, tmp_path / "text" / "queue.db"):
        driver = SQLiteDriver("d", parsed(SQLiteSettings, path=path))
        await driver.declare(QueueSpec("q"))
        with pytest.raises(DriverError, match="no file can be there; write the path of a file") as caught:
            await driver.open()
        assert not caught.value.retryable
        await driver.close()


async def test_a_queue_that_is_missing_in_the_file_is_made(make: Any) -> None:
    driver = await make()

    def drop(store: Any, _: int) -> None:
        store._execute("DELETE FROM queues")
        store.queues.undo()

    await driver._guard.get().submit(Call("", drop))
    assert not await driver.publish("q", [message()])
    assert (await driver.depth("q")).ready == 1


async def test_a_large_log_is_moved_into_the_file(make: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await make()
    await driver.publish("q", [message(str(number), b"x" * 1000) for number in range(500)])
    assert Path(f"{path}-wal").stat().st_size > 2**19
    monkeypatch.setattr(errors, "MAX_WAL_BYTES", 2**16)
    driver._guard.get()._next_sweep = 0.0
    await driver.depth("q")
    await driver.depth("q")
    assert Path(f"{path}-wal").stat().st_size < 2**16


def test_a_folder_drops_its_files(path: Path) -> None:
    folder = connections.HolderLocks(str(path))
    folder.enter()
    assert folder.is_alive(folder.name)
    folder.drop()
    assert not folder.is_alive(folder.name)
    folder.remove(folder.name)
    folder.remove("never there")


def test_the_number_of_a_deleted_queue_is_not_used_again(tmp_path: Path) -> None:
    async def run() -> list[int]:
        driver = SQLiteDriver("db", parsed(SQLiteSettings, path=tmp_path / "queue.db"))
        await driver.open()
        seen = []
        try:
            for _ in range(3):
                await driver.declare(QueueSpec("q"))
                with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
                    seen.append(connection.execute("SELECT queue FROM queues").fetchone()[0])
                await driver.delete("q")
        finally:
            await driver.close()
        return seen

    assert asyncio.run(run()) == [1, 2, 3]


def test_outdated_ids_are_forgotten(tmp_path: Path) -> None:
    clock = ShiftedClock()

    async def run() -> int:
        driver = SQLiteDriver("db", parsed(SQLiteSettings, path=tmp_path / "queue.db"), clock)
        await driver.open()
        try:
            await driver.declare(QueueSpec("q", dedup_window=60.0))
            for number in range(5):
                await driver.publish("q", [Outgoing(f"{number}-{index}", b"", {}) for index in range(50)])
                clock.advance(61.0)
            with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
                return int(connection.execute("SELECT count(*) FROM known").fetchone()[0])
        finally:
            await driver.close()

    assert asyncio.run(run()) == 50


@pytest.mark.parametrize("is_kept_by_another", [False, True])
def test_a_temporary_queue_goes_with_the_last_driver_that_has_declared_it(
    tmp_path: Path, is_kept_by_another: bool
) -> None:
    spec = QueueSpec("reply.1", temporary=True)

    async def run() -> list[str]:
        asks, answers = (
            SQLiteDriver(name, parsed(SQLiteSettings, path=tmp_path / "queue.db")) for name in ("asks", "answers")
        )
        for driver in (asks, answers):
            await driver.open()
            await driver.declare(QueueSpec("tasks"))
        await asks.declare(spec)
        await (answers.declare if is_kept_by_another else answers.inspect)(spec)
        await answers.publish(spec.name, [Outgoing("late", b"", {})])
        await asks.close()
        with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM queues ORDER BY name")]
            assert connection.execute("SELECT count(*) FROM messages").fetchone()[0] == int(is_kept_by_another)
        await answers.close()
        return names

    assert asyncio.run(run()) == (["reply.1", "tasks"] if is_kept_by_another else ["tasks"])


async def test_a_new_connection_gives_no_older_options_to_the_file(make: Any, path: Path) -> None:
    older, newer = await make(), await make()
    await newer.declare(QueueSpec("q", lease=7.0, max_length=2))
    await older._guard.get().submit(Call("", lambda store, _: store.undo()))
    assert not await older.publish("q", [message("a"), message("b")])
    with pytest.raises(QueueFullError):
        await older.publish("q", [message("c")])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT lease, max_length FROM queues").fetchall() == [(7.0, 2)]


async def test_drivers_that_open_at_once_make_one_file(path: Path) -> None:
    drivers = [SQLiteDriver(f"d{number}", parsed(SQLiteSettings, path=path)) for number in range(5)]
    await asyncio.gather(*(driver.open() for driver in drivers))
    await asyncio.gather(*(driver.declare(QueueSpec("q")) for driver in drivers))
    for driver in drivers:
        await driver.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (connections.LAYOUT,)
