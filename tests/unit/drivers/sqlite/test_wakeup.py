"""Wake-ups of the SQLite driver: noticed, missed, impossible, and closed."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file import connections
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.thread import wakeup as watch
from tasuki.drivers.sqlite.thread.requests import Stop
from tasuki.drivers.sqlite.thread.wakeup import Inbox
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")]

SECONDS = 60.0
"""Nothing waits that long where all is well."""


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    drivers: list[SQLiteDriver] = []

    async def make() -> SQLiteDriver:
        drivers.append(SQLiteDriver("db", parsed(SQLiteSettings, path=tmp_path / "queue.db")))
        await drivers[-1].open()
        await drivers[-1].declare(QueueSpec("q"))
        return drivers[-1]

    yield make
    for driver in drivers:
        await driver.close()


def parked(driver: SQLiteDriver) -> asyncio.Task[Any]:
    return asyncio.create_task(driver.receive("q", 1, SECONDS))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def is_asleep(driver: SQLiteDriver) -> bool:
    return driver._guard.get()._inbox._is_asleep


async def pass_one(publisher: SQLiteDriver, receiver: SQLiteDriver, id: str) -> None:
    """A message to a receive that waits."""
    waiting = parked(receiver)
    await until(lambda: is_asleep(receiver) or receiver._guard.get()._pacing.must_poll)
    await publisher.publish("q", [Outgoing(id, b"", {})])
    (got,) = await waiting
    assert got.id == id
    await receiver.settle("q", [Ack(got.receipt)])


def listening() -> int:
    """How many watched files this process has open."""
    names = [os.readlink(link) for link in _links()]
    return sum("inotify" in name or "eventfd" in name for name in names)


def _links() -> list[str]:
    return [path for name in os.listdir("/proc/self/fd") if os.path.islink(path := f"/proc/self/fd/{name}")]


async def test_a_sleeper_hears_the_others(make: Any) -> None:
    publisher, receiver = await make(), await make()
    for number in range(5):
        await pass_one(publisher, receiver, str(number))
    assert not receiver._guard.get()._pacing.must_poll


async def test_a_change_of_a_store_wakes_no_receive_of_another_process(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await make()
    store = driver.store("state")
    await store.open()
    wake_ups: list[str] = []
    monkeypatch.setattr(connections.HolderLocks, "notify", lambda _: wake_ups.append("."))
    await store.put("presence/a", b"1", ttl=60.0)
    await store.put("presence/a", b"2", ttl=60.0)
    await store.take("bucket", 1, rate=1.0, burst=5)
    assert await store.delete("presence/a")
    assert not wake_ups
    await asyncio.gather(store.put("b", b""), driver.publish("q", [Outgoing("m", b"", {})]))
    assert wake_ups
    await store.close()


async def test_a_sleeper_hears_requests_of_its_own(make: Any) -> None:
    driver = await make()
    waiting = parked(driver)
    for _ in range(3):
        await until(lambda: is_asleep(driver))
        assert (await driver.depth("q")).ready == 0
    await until(lambda: is_asleep(driver))
    await driver.publish("q", [Outgoing("m", b"", {})])
    assert [got.id for got in await waiting] == ["m"]


async def test_a_log_that_is_emptied_and_a_driver_that_comes_and_goes(make: Any, tmp_path: Path) -> None:
    receiver = await make()
    for number in range(3):
        publisher = await make()
        await pass_one(publisher, receiver, str(number))
        await publisher.close()
        with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not receiver._guard.get()._pacing.must_poll


@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "no watches left"), OSError(errno.EMFILE, "no instances")])
async def test_without_a_watched_file_it_polls(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: OSError
) -> None:
    def refuse(path: str) -> int:
        raise problem

    monkeypatch.setattr(watch, "_watching", refuse)
    caplog.set_level(logging.DEBUG, "tasuki.driver.sqlite")
    before = listening()
    publisher, receiver = await make(), await make()
    for number in range(3):
        await pass_one(publisher, receiver, str(number))
    assert receiver._guard.get()._pacing.must_poll
    assert "polls for messages of other processes: [Errno" in caplog.text
    assert listening() == before


async def test_another_system_cannot_watch_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError, match="only Linux"):
        watch.FileWatch(str(tmp_path))


async def test_a_file_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    before = listening()
    with pytest.raises(FileNotFoundError):
        watch.FileWatch(str(tmp_path / "none"))
    assert listening() == before


async def test_without_wakeups_it_polls_in_the_end(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections.HolderLocks, "notify", lambda self: None)
    caplog.set_level(logging.DEBUG, "tasuki.driver.sqlite")
    publisher, receiver = await make(), await make()
    for number in range(10):
        if receiver._guard.get()._pacing.must_poll:
            break
        await pass_one(publisher, receiver, str(number))
    assert receiver._guard.get()._pacing.must_poll
    assert "they came without a wake-up" in caplog.text
    await pass_one(publisher, receiver, "last")


async def test_a_wakeup_that_fails_stops_no_writer(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EROFS, "read-only")

    publisher, receiver = await make(), await make()
    monkeypatch.setattr(os, "utime", refuse)
    await pass_one(publisher, receiver, "m")


async def test_files_are_closed_with_the_driver(make: Any) -> None:
    before = listening()
    for _ in range(5):
        driver = await make()
        waiting = parked(driver)
        await until(partial(is_asleep, driver))
        assert listening() == before + 2
        await driver.close()
        assert await waiting == []
        assert listening() == before


async def test_a_forked_child_closes_its_shared_files_and_wakes_no_thread(tmp_path: Path) -> None:
    bell = tmp_path / "bell"
    bell.touch()
    before = listening()
    inbox = Inbox()
    assert inbox.sleep(str(bell), 0.0), "what rang before was not heard"
    assert not inbox.sleep(str(bell), 0.0)
    os.utime(bell)
    assert inbox.sleep(str(bell), SECONDS)
    os.utime(bell)
    assert inbox.was_touched()
    assert not inbox.was_touched()
    inbox._is_asleep = True
    inbox.forget_parent()
    assert listening() == before
    assert inbox.put(Stop())
    assert len(inbox.get(None)) == 1
    inbox.close()
    assert not inbox.put(Stop())
