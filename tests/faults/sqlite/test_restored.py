"""An SQLite file that is put back to an earlier state while drivers have it open."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from tasuki.contracts.driver import Ack, Outgoing
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file import connections
from tasuki.errors import BrokerUnavailableError
from tests.faults.sqlite.test_storage import opened
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


async def test_a_publish_to_a_file_that_is_replaced_before_its_commit_is_not_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, copy = tmp_path / "queue.db", tmp_path / "saved.db"
    driver = await opened(file)
    backup(file, copy)
    begin = connections.begin

    def begin_and_replace(*arguments: object) -> None:
        begin(*arguments)  # type: ignore[arg-type]
        monkeypatch.undo()
        replace(copy, file)

    monkeypatch.setattr(connections, "begin", begin_and_replace)
    with pytest.raises(BrokerUnavailableError, match="replaced while it was open") as caught:
        await driver.publish("q", [Outgoing("m", b"body", {})])
    assert caught.value.outcome == "unknown"
    await _publish(driver, "after", 1)
    assert [each.id for each in await driver.receive("q", 10, 1.0)] == ["after-0"]
    await driver.close()


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
