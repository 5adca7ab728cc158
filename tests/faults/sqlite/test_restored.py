"""An SQLite file that is put back to an earlier state while drivers have it open."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from tasuki.contracts.driver import Ack, Outgoing
from tasuki.contracts.state.store import CURRENT, Change
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file.database import Database
from tasuki.errors import BrokerUnavailableError
from tests.faults.sqlite.test_storage import opened
from tests.support.brokers.rig import SECONDS
from tests.support.sqlite_files import backup, replace, restore

pytestmark = [pytest.mark.anyio, pytest.mark.fault]
T = TypeVar("T")


def replace_beside_its_log(copy: Path, file: Path) -> None:
    """As an administrator does who forgets the log."""
    again = copy.with_suffix(".copy")
    again.write_bytes(copy.read_bytes())
    os.replace(again, file)


@pytest.mark.parametrize("put_back", [replace, replace_beside_its_log, restore])
async def test_old_receipts_are_stale_and_later_messages_are_kept(
    put_back: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    driver = await opened(file)
    other = await opened(file)
    await _publish(driver, "kept", 20)
    backup(file, copy)
    await _publish(driver, "lost", 200)
    held = await driver.receive("q", 50, 1.0)
    put_back(copy, file)
    await _again(lambda: _publish(other, "after", 20))
    stale = await _again(lambda: driver.settle("q", [Ack(each.receipt) for each in held]))
    assert len(stale) == len(held)
    found = [each.id for each in await _again(lambda: driver.receive("q", 1000, 1.0))]
    assert found == [*(f"kept-{number}" for number in range(20)), *(f"after-{number}" for number in range(20))]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    await driver.close()
    await other.close()


async def test_a_driver_that_the_restored_file_does_not_know_opens_it_again(tmp_path: Path) -> None:
    """Its number among the holders may be another driver's by then, which would release what it holds."""
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    first = await opened(file)
    backup(file, copy)
    second = await opened(file)
    await _publish(second, "lost", 1)
    restore(copy, file)
    third = await opened(file)
    await _publish(third, "after", 2)
    (held,) = await _again(lambda: second.receive("q", 1, 1.0))
    await third.close()
    assert not await second.settle("q", [Ack(held.receipt)]), "released with what another driver held"
    await second.close()
    await first.close()


@pytest.mark.parametrize("put_back", [replace, replace_beside_its_log])
async def test_a_publish_to_a_file_that_is_replaced_before_its_commit_is_not_confirmed(
    put_back: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    driver = await opened(file)
    await _publish(driver, "kept", 5)
    backup(file, copy)
    await _publish(driver, "lost", 200)
    _replace_before_commit(monkeypatch, lambda: put_back(copy, file))
    with pytest.raises(BrokerUnavailableError, match="replaced while it was open") as caught:
        await driver.publish("q", [Outgoing("m", b"body", {})])
    assert caught.value.outcome == "unknown"
    await _publish(driver, "after", 1)
    found = [each.id for each in await driver.receive("q", 1000, 1.0)]
    assert found == [*(f"kept-{number}" for number in range(5)), "after-0"], "the old log is part of the new file"
    await driver.close()


async def test_a_log_that_another_process_has_written_since_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last transaction began before the file was replaced: the log is still the old one's, and must not be read."""
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    driver, other = await opened(file), await opened(file)
    await _publish(driver, "kept", 5)
    backup(file, copy)
    await _publish(driver, "lost", 200)
    _replace_before_commit(monkeypatch, lambda: replace_beside_its_log(copy, file))
    with pytest.raises(BrokerUnavailableError, match="replaced while it was open"):
        await driver.publish("q", [Outgoing("m", b"body", {})])
    with pytest.raises(BrokerUnavailableError, match="replaced while it was open"):
        await _publish(other, "early", 1)
    with pytest.raises(BrokerUnavailableError, match="stop all processes, remove") as caught:
        await _publish(other, "early", 1)
    assert caught.value.outcome == "rejected"
    await _publish(driver, "after", 1)
    await _publish(other, "after-all", 1)
    found = [each.id for each in await other.receive("q", 1000, 1.0)]
    assert found == [*(f"kept-{number}" for number in range(5)), "after-0", "after-all-0"]
    await driver.close()
    await other.close()


@pytest.mark.parametrize("put_back", [replace, replace_beside_its_log, restore])
async def test_a_store_and_its_watch_have_what_the_restored_file_has(
    put_back: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    """Reads and watches have a connection of their own, which may open the new file first."""
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    driver = await opened(file)
    store = driver.store("state")
    await store.open()
    await store.put("a", b"kept")
    backup(file, copy)
    await store.put("a", b"lost")
    async with asyncio.timeout(SECONDS):
        changes = store.watch("")
        assert await anext(changes) is not CURRENT
        assert await anext(changes) is CURRENT
        put_back(copy, file)
        await _again(lambda: store.get("a"))
        await _again(lambda: store.put("b", b"after"))
        found = await _again(lambda: store.get("a"))
        assert found is not None
        assert found.value == b"kept"
        told: set[tuple[str, bytes | None]] = set()
        while not told >= {("a", b"kept"), ("b", b"after")}:
            change = await anext(changes)
            if isinstance(change, Change):
                told.add((change.key, change.value))
    await driver.close()


async def test_a_watch_that_looks_after_a_restore_and_the_next_write_reports_both(tmp_path: Path) -> None:
    """The numbers of the rows have passed the ones that it knows by then."""
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    driver = await opened(file)
    store = driver.store("state")
    await store.open()
    await store.put("changed", b"kept")
    await store.put("deleted", b"kept")
    backup(file, copy)
    await store.put("changed", b"lost")
    await store.put("new", b"lost")
    await store.delete("deleted")
    reader = driver._readers.current
    assert reader is not None
    async with asyncio.timeout(SECONDS):
        changes = store.watch("")
        assert [await anext(changes) for _ in range(3)][2] is CURRENT
        with reader.at_work:  # it looks no earlier
            restore(copy, file)
            await store.put("other", b"after")
            await store.put("gone", b"after")
            await store.delete("gone")
        found = dict[str, bytes | None]()
        while len(found) < 4:
            change = await anext(changes)
            if isinstance(change, Change):
                found[change.key] = change.value
        assert found == {"changed": b"kept", "deleted": b"kept", "new": None, "other": b"after"}
    await driver.close()


def _replace_before_commit(monkeypatch: pytest.MonkeyPatch, put_back: Callable[[], None]) -> None:
    """Replace the file within the next transaction, so much earlier than its commit that their times differ."""
    commit = Database.commit

    def replace_and_commit(database: Database) -> None:
        monkeypatch.undo()
        put_back()
        log = Path(f"{database.path}-wal")
        while log.exists() and log.stat().st_mtime_ns <= Path(database.path).stat().st_ctime_ns:
            os.utime(log)
        commit(database)

    monkeypatch.setattr(Database, "commit", replace_and_commit)


async def _publish(driver: SQLiteDriver, word: str, number: int) -> None:
    batch = [Outgoing(f"{word}-{count}", b"x" * 2000, {}) for count in range(number)]
    assert not any(await driver.publish("q", batch))


async def _again(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, once the driver has opened the file again."""
    for _ in range(3):
        try:
            return await ask()
        except BrokerUnavailableError as error:
            if "opened again" not in str(error):
                raise
    return await ask()
