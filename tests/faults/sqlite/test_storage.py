"""SQLite on bad storage: locked, full, read-only, corrupt, foreign, gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, DriverError, QueueFullError
from tasuki.system.tasks import OnFailure
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def opened(path: Path, **options: Any) -> SQLiteDriver:
    driver = SQLiteDriver("test", parsed(SQLiteSettings, path=path, **options))
    async with OnFailure(driver.close):
        await driver.open()
        await driver.declare(QueueSpec("q"))  # makes a file that is missing
    return driver


def fill(file: Path) -> None:
    """Take all the room of the disk."""
    with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(bytes(4096)):
            pass


def large(number: int) -> list[Outgoing]:
    return [Outgoing(f"m{count}", os.urandom(20_000), {}) for count in range(number)]


async def test_a_lock_held_too_long_is_definite_and_retryable(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    driver = await opened(path, busy_timeout=0.3)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="locked by another process") as caught:
            await driver.publish("q", large(1))
        assert 0.3 <= time.monotonic() - began < 3.0
        assert caught.value.outcome == "rejected"
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert (await driver.depth("q")).ready == 0
    assert not await driver.publish("q", large(1))
    await driver.close()


async def test_a_full_disk_rejects_publishes_while_acks_go_through(disk: Any) -> None:
    place = disk("8m")
    driver = await opened(place / "queue.db")
    confirmed: set[str] = set()

    async def fill() -> None:
        for count in range(2000):
            message = Outgoing(f"m{count}", os.urandom(20_000), {})
            await driver.publish("q", [message])
            confirmed.add(message.id)

    with pytest.raises(QueueFullError, match="the disk is full") as caught:
        await fill()
    assert caught.value.outcome == "rejected"
    assert caught.value.retryable
    with pytest.raises(QueueFullError):
        await driver.publish("q", large(1))
    found: set[str] = set()
    while got := await driver.receive("q", 20, 0.0):
        found |= {item.id for item in got if item.attempt > 1}
        settlements = [Ack(item.receipt) if item.attempt > 1 else Nack(item.receipt) for item in got]
        assert not await driver.settle("q", settlements)
    assert found == confirmed
    assert not await driver.publish("q", large(5))
    assert len(await driver.receive("q", 10, 0.0)) == 5
    await driver.close()


async def test_a_full_disk_at_open(disk: Any) -> None:
    place = disk("8m")
    driver = await opened(place / "queue.db")
    await driver.publish("q", large(10))
    await driver.close()
    filler = place / "filler"
    fill(filler)
    driver = await opened(place / "queue.db")
    got = await driver.receive("q", 10, 0.0)
    assert not await driver.settle("q", [Ack(item.receipt) for item in got])
    with pytest.raises(QueueFullError):
        await driver.publish("q", large(10))
    filler.unlink()
    assert not await driver.publish("q", large(1))
    await driver.close()


async def test_a_disk_that_others_fill_while_messages_are_held(disk: Any) -> None:
    place = disk("8m")
    driver = await opened(place / "queue.db")
    confirmed = large(40)
    await driver.publish("q", confirmed)
    got = await driver.receive("q", 20, 0.0)
    fill(place / "filler")
    for item in got:
        assert not await driver.settle("q", [Ack(item.receipt)])
    waiting = asyncio.create_task(driver.receive("q", 100, 10.0))
    rest = await waiting
    assert len(rest) == 20
    with pytest.raises(QueueFullError):
        await driver.publish("q", large(1))
    assert not await driver.settle("q", [Ack(item.receipt) for item in rest])
    assert (await driver.depth("q")).ready == 0
    (place / "filler").unlink()
    assert not await driver.publish("q", large(1))
    await driver.close()


async def test_no_room_for_a_new_file(disk: Any) -> None:
    with pytest.raises(QueueFullError, match=r"queue\.db.*the disk is full"):
        await opened(disk("16k") / "queue.db")


async def test_a_read_only_disk(disk: Any) -> None:
    path = disk("1m", "ro") / "queue.db"
    with pytest.raises(AccessDeniedError, match=r"queue\.db.*may not write there; check the owner") as caught:
        await opened(path)
    assert not caught.value.retryable


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere; the read-only disk covers it")
async def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(AccessDeniedError):
        await opened(folder / "queue.db")


async def test_a_missing_folder_is_made_and_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "queue.db"
    driver = await opened(path)
    await driver.publish("q", large(1))
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    await driver.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["queue.db", "queue.db.ballast", "queue.db.holders"]
    assert [file.name for file in (path.parent / "queue.db.holders").iterdir()] == ["turn"]


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DriverError, match="no file can be there; write the path of a file") as caught:
        await opened(tmp_path / "file" / "queue.db")
    assert not caught.value.retryable


async def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.write_text("this is not a database, and was never one; it has no header at all" * 100)
    with pytest.raises(DriverError, match=r"queue\.db.*move it away to start with a new one") as caught:
        await SQLiteDriver("test", parsed(SQLiteSettings, path=path)).open()
    assert not caught.value.retryable
    assert path.read_text().startswith("this is not")


async def test_a_corrupt_database(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    driver = await opened(path)
    await driver.publish("q", large(50))
    await driver.close()
    with path.open("r+b") as file:
        for page in range(2, 40):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(DriverError, match="not a readable database"):  # noqa: PT012
        driver = await opened(path)
        await driver.receive("q", 50, 0.0)
    await driver.close()


async def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(DriverError, match="belongs to another program"):
        await SQLiteDriver("test", parsed(SQLiteSettings, path=path)).open()


@pytest.mark.parametrize("found", [2, 10])
async def test_a_file_of_another_layout_is_refused_and_kept(tmp_path: Path, found: int) -> None:
    path = tmp_path / "queue.db"
    await (await opened(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA user_version = {found}")
    before = path.read_bytes()
    expected = f"has layout {found}, and this version of Tasuki needs layout 1: drain it with .* or set another path"
    with pytest.raises(DriverError, match=expected):
        await SQLiteDriver("test", parsed(SQLiteSettings, path=path)).open()
    assert path.read_bytes() == before


async def test_a_file_that_is_removed_is_not_published_into(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    driver = await opened(path)
    await driver.publish("q", large(1))
    for name in ("queue.db", "queue.db-wal", "queue.db-shm"):
        (tmp_path / name).unlink()
    with pytest.raises(BrokerUnavailableError, match="removed or replaced"):
        await driver.publish("q", large(1))
    assert not await driver.publish("q", large(2))
    assert (await driver.depth("q")).ready == 2
    await driver.close()


async def test_a_reader_that_stays_does_not_stop_the_work(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    driver = await opened(path)
    await driver.publish("q", large(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        for _ in range(5):
            await driver.publish("q", large(10))
        got = await driver.receive("q", 100, 0.0)
        assert not await driver.settle("q", [Ack(item.receipt) for item in got])
        await driver.close()
    assert (await opened(path)) is not None
