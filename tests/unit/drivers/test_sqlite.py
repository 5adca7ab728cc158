"""The SQLite driver's own decisions, beside the contract: errors, outcomes, groups, sweeps."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.encoding import Encoded
from tasuki.drivers.sqlite.file import connections, disk_space, errors, locks
from tasuki.drivers.sqlite.schema import schema
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.store import purge, store
from tasuki.drivers.sqlite.thread.requests import Call, Publish, Request
from tasuki.drivers.sqlite.thread.writer import Writer
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError, QueueNotFoundError, UnsupportedError
from tasuki.system.helper_threads import problems
from tasuki.testing.clock import FakeClock
from tasuki.testing.conformance import ShiftedClock

pytestmark = pytest.mark.anyio


class Faulty(sqlite3.Connection):
    """A connection whose statements fail on demand: SQL text to SQLite's name of the error."""

    faults: ClassVar[dict[str, str]] = {}

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        for text, name in self.faults.items():
            if text in sql:
                problem = sqlite3.OperationalError(f"injected {name}")
                problem.sqlite_errorname = name
                raise problem
        return super().execute(sql, *arguments)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, factory=Faulty, **options))
    Faulty.faults = {}
    yield Faulty.faults
    Faulty.faults = {}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
async def make(path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Open drivers on the path with the queue ``q``; closed at the end."""
    drivers: list[SQLiteDriver] = []

    async def make(**options: Any) -> SQLiteDriver:
        clock = options.pop("clock", None)
        driver = SQLiteDriver("sqlite", SQLiteSettings(path=path, **{"busy_timeout": 0.2, **options}), clock)
        drivers.append(driver)
        await driver.open()
        await driver.declare(QueueSpec("q"))
        return driver

    yield make
    Faulty.faults = {}
    for driver in drivers:
        await driver.close()


def message(id: str = "m", body: bytes = b"", **options: Any) -> Outgoing:
    return Outgoing(id, body, {}, **options)


def connection_of(driver: SQLiteDriver) -> Any:
    return driver._guard.get()._database.connection


async def test_durability_is_what_the_setting_gives(path: Path) -> None:
    assert SQLiteDriver("d", SQLiteSettings(path=path)).durability == "power"
    assert SQLiteDriver("d", SQLiteSettings(path=path, synchronous="normal")).durability == "broker"
    with pytest.raises(ValidationError, match="synchronous"):
        SQLiteSettings(path=path, synchronous="off")


async def test_no_consumer_attaches_to_a_queue_that_is_not_declared(make: Any) -> None:
    driver = await make()
    await driver.delete("q")
    with pytest.raises(QueueNotFoundError):
        await driver.attach("q", 1)


@pytest.mark.parametrize(("setting", "value"), [("full", 2), ("normal", 1)])
async def test_pragmas(make: Any, setting: str, value: int) -> None:
    driver = await make(synchronous=setting)
    pragmas = ("journal_mode", "synchronous", "fullfsync", "user_version", "application_id")

    def read(*_: Any) -> list[Any]:
        return [connection_of(driver).execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    ours = [schema.LAYOUT.version, schema.APPLICATION_ID]
    assert await driver._guard.get().submit(Call("", read)) == ["wal", value, int(setting == "full"), *ours]


async def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(UnsupportedError, match=r"needs SQLite 3\.35 or newer"):
        await SQLiteDriver("d", SQLiteSettings(path=path)).open()
    assert not path.exists()


async def test_headers_that_cannot_be_kept_are_refused_one_by_one(make: Any) -> None:
    driver = await make()
    bad: list[Any] = [{"large": 2**70}, {"object": object()}, {"half": "\ud800"}]
    batch = [Outgoing("good", b"", {"n": 1}), *(Outgoing("bad", b"", headers) for headers in bad)]
    results = await driver.publish("q", batch)
    assert [type(result) for result in results] == [type(None)] + [UnsupportedError] * 3
    with pytest.raises(UnsupportedError, match="message 'bad' was not stored: its headers cannot be kept"):
        await driver.publish("q", batch[1:])
    assert (await driver.depth("q")).ready == 1


async def test_one_callers_fault_is_not_the_others(make: Any) -> None:
    driver = await make()
    waiting = asyncio.create_task(driver.receive("q", 10, 5.0))
    await asyncio.sleep(0.05)
    results = await asyncio.gather(
        driver.publish("q", [message("good")]),
        driver.publish("q", [message("\ud800")]),
        driver.settle("q", [Ack(999)]),
        return_exceptions=True,
    )
    assert results[0] == ()
    assert type(results[1]) is DriverError
    assert results[2] == [999]
    assert [item.id for item in await waiting] == ["good"]
    with pytest.raises(DriverError, match="SQLite refuses"):
        await driver.publish("q", [message("\ud800")])


async def test_a_failed_fsync_leaves_the_outcome_unknown(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    before = connection_of(driver)
    faults["COMMIT"] = "SQLITE_IOERR_FSYNC"
    with pytest.raises(BrokerUnavailableError, match="its storage refuses to work") as caught:
        await driver.publish("q", [message()])
    assert caught.value.outcome == "unknown"
    assert caught.value.retryable
    assert caught.value.queue == "q"
    faults.clear()
    assert not await driver.publish("q", [message("again")])
    assert connection_of(driver) is not before
    assert "again" in [item.id for item in await driver.receive("q", 5, 0.0)]


async def test_an_error_before_the_commit_is_definite(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    faults["last_insert_rowid"] = "SQLITE_IOERR_READ"
    with pytest.raises(BrokerUnavailableError) as caught:
        await driver.publish("q", [message()])
    assert caught.value.outcome == "rejected"
    faults.clear()
    assert (await driver.depth("q")).ready == 0


async def test_a_rollback_that_fails_gives_the_connection_up(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    before = connection_of(driver)
    faults.update({"last_insert_rowid": "SQLITE_TOOBIG", "ROLLBACK": "SQLITE_ERROR"})
    with pytest.raises(DriverError):
        await driver.publish("q", [message()])
    faults.clear()
    assert not await driver.publish("q", [message()])
    assert connection_of(driver) is not before


async def test_a_full_disk_at_the_commit_is_definite_and_acks_are_tried_again(
    make: Any, faults: dict[str, str], path: Path
) -> None:
    driver = await make()
    await driver.publish("q", [message("held")])
    (held,) = await driver.receive("q", 1, 0.0)
    faults["INSERT INTO ready"] = "SQLITE_FULL"
    answers = await asyncio.gather(
        driver.publish("q", [message()]), driver.settle("q", [Ack(held.receipt)]), return_exceptions=True
    )
    assert isinstance(answers[0], QueueFullError)
    assert answers[0].outcome == "rejected"
    assert answers[1] == []
    assert not Path(f"{path}.ballast").exists()
    faults["COMMIT"] = "SQLITE_FULL"
    with pytest.raises(QueueFullError) as caught:
        await driver.declare(QueueSpec("q2"))
    assert caught.value.outcome == "rejected"
    faults.clear()
    assert not await driver.publish("q", [message()])
    assert Path(f"{path}.ballast").stat().st_size == disk_space.BALLAST_BYTES


async def test_while_the_ballast_is_missing_nothing_is_published(
    make: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await make()
    ballast = Path(f"{path}.ballast")
    ballast.unlink()

    def no_room(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(QueueFullError, match="the disk is full"):
        await driver.publish("q", [message()])
    assert not ballast.exists()
    monkeypatch.undo()
    assert not await driver.publish("q", [message()])
    assert ballast.exists()


async def test_a_waiting_receive_learns_that_the_storage_is_broken(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    waiting = asyncio.create_task(driver.receive("q", 1, 30.0))
    await asyncio.sleep(0.1)
    faults["data_version"] = "SQLITE_IOERR_READ"
    with pytest.raises(BrokerUnavailableError):
        await waiting
    faults.clear()
    waiting = asyncio.create_task(driver.receive("q", 1, 30.0))
    faults["min(lease_until)"] = "SQLITE_IOERR_READ"
    with pytest.raises(BrokerUnavailableError):
        await waiting
    faults.clear()
    assert not await driver.publish("q", [message()])


async def test_the_lock_is_awaited_for_busy_timeout(make: Any, path: Path) -> None:
    driver = await make(busy_timeout=5.0)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        timer.start()
        assert not await driver.publish("q", [message()])
        timer.join()


async def test_an_unended_turn_does_not_stop_the_others(make: Any, path: Path) -> None:
    driver = await make()
    stopped = locks.HolderLocks(str(path))
    stopped.enter()
    assert stopped.take_turn()
    assert not await driver.publish("q", [message()])
    other = SQLiteDriver("other", SQLiteSettings(path=path, busy_timeout=0.1))
    await other.open()
    await other.close()
    stopped.leave()
    stopped.leave()


async def test_closing_under_a_foreign_lock_leaves_the_rest_to_the_others(make: Any, path: Path) -> None:
    driver, other = await make(), await make(busy_timeout=5.0)
    await driver.publish("q", [message()])
    await driver.receive("q", 1, 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        await driver.close()
    assert [(item.attempt, item.suspect) for item in await other.receive("q", 1, 5.0)] == [(1, True)]


async def test_a_restart_of_the_machine_voids_leases(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await make()
    await before.publish("q", [message()])
    await before.receive("q", 1, 0.0)
    monkeypatch.setattr(locks, "boot_id", lambda: "after")
    after = await make()
    assert [(item.attempt, item.suspect) for item in await after.receive("q", 1, 0.0)] == [(1, True)]


def test_a_machine_without_a_boot_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    assert locks.boot_id() == locks.boot_id()
    monkeypatch.setattr("builtins.open", missing)
    assert locks.boot_id() == ""


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
    monkeypatch.setattr(disk_space, "MAX_WAL_BYTES", 2**16)
    driver._guard.get()._next_sweep = 0.0
    await driver.depth("q")
    await driver.depth("q")
    assert Path(f"{path}-wal").stat().st_size < 2**16


async def test_requests_to_a_writer_that_ended(make: Any) -> None:
    driver = await make()
    ended = driver._guard.get()
    await driver.close()
    await ended.stop()
    with pytest.raises(BrokerUnavailableError, match="is not open"):
        await ended.submit(Call("q", lambda *_: None))


async def test_requests_behind_a_stop_are_refused(make: Any) -> None:
    driver = await make()
    answers = await asyncio.gather(
        driver.close(), *(driver.publish("q", [message()]) for _ in range(50)), return_exceptions=True
    )
    assert answers[0] is None
    assert [answer for answer in answers[1:] if answer != () and not isinstance(answer, BrokerUnavailableError)] == []


def test_messages_taken_for_a_loop_that_ended_are_released(path: Path) -> None:
    driver = SQLiteDriver("sqlite", SQLiteSettings(path=path))

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


def test_a_folder_drops_its_files(path: Path) -> None:
    folder = locks.HolderLocks(str(path))
    folder.enter()
    assert folder.is_alive(folder.name)
    folder.drop()
    assert not folder.is_alive(folder.name)
    folder.remove(folder.name)
    folder.remove("never there")


def test_meanings_of_errors() -> None:
    def raised(problem: Exception) -> DriverError:
        with pytest.raises(DriverError) as caught, errors.translated("d", "x.db", "unknown"):
            raise problem
        return caught.value

    refused = BrokerUnavailableError("as it is")
    assert raised(refused) is refused
    assert type(raised(ValueError("?"))) is DriverError
    assert type(raised(OSError(5, "input/output"))) is BrokerUnavailableError
    assert raised(OSError(5, "input/output")).outcome == "unknown"
    assert raised(OSError(28, "no space")).outcome == "rejected"


async def test_a_file_system_without_a_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoLog(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            return super().execute("SELECT 'delete'" if "journal_mode" in sql else sql, *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, factory=NoLog, **options))
    with pytest.raises(DriverError, match="no write-ahead log on this file system; use a local disk"):
        await SQLiteDriver("d", SQLiteSettings(path=path)).open()


async def test_a_lock_while_opening(path: Path, make: Any, faults: dict[str, str]) -> None:
    await (await make()).close()
    faults["journal_mode"] = "SQLITE_BUSY"
    driver = SQLiteDriver("d", SQLiteSettings(path=path, busy_timeout=0.05))
    with pytest.raises(BrokerUnavailableError, match="locked by another process"):
        await driver.open()
    faults.clear()
    await driver.open()
    await driver.close()


async def test_a_connection_that_cannot_even_close(make: Any, faults: dict[str, str]) -> None:
    class Broken:
        def execute(self, _: str) -> None:
            raise sqlite3.DatabaseError("broken")

        def close(self) -> None:
            raise sqlite3.DatabaseError("broken")

    connections.close(Broken())  # type: ignore[arg-type]
    disk_space.truncate_log(Broken())  # type: ignore[arg-type]


async def test_peek_past_the_end_of_each_part(make: Any) -> None:
    driver = await make()
    await driver.declare(QueueSpec("q", ordering="key"))
    await driver.publish("q", [message(name, key="k") for name in "abc"] + [message("late", delay=60.0)])
    assert [[item.id for item in await driver.peek("q", 1, after=number)] for number in range(5)] == [
        ["a"], ["b"], ["c"], ["late"], [],
    ]  # fmt: skip


async def test_a_purge_is_bounded_by_when_it_began(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await make()
    monkeypatch.setattr(purge, "FIRST", 3)
    monkeypatch.setattr(purge, "SECONDS", 0.0)
    await driver.publish("q", [message(str(number)) for number in range(8)])
    removed, _ = await asyncio.gather(driver.purge("q"), publish_later(driver))
    assert removed == 8
    assert (await driver.depth("q")).ready == 1


async def test_a_removal_searches_in_several_transactions(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "SEARCHED", 3)
    driver = await make()
    for queue in ("q", "other"):
        await driver.declare(QueueSpec(queue))
    for number in range(20):
        await driver.publish("q" if number % 2 else "other", [message(f"{number}")])
    assert await driver.remove("q", [f"{number}" for number in range(20) if number != 7]) == 9
    assert [item.id for item in await driver.peek("q", 99)] == ["7"]
    assert len(await driver.peek("other", 99)) == 10


async def test_a_purge_leaves_what_comes_back_while_it_runs(make: Any) -> None:
    driver = await make()
    await driver.publish("q", [message(str(number)) for number in range(4)])
    held = await driver.receive("q", 2, 0.0)
    writer = driver._guard.get()
    extent = await writer.submit(Call("q", lambda store, number: store.purging.begin(number)))
    await driver.settle("q", [Nack(held[0].receipt), Release(held[1].receipt)])
    await driver.publish("q", [message("new")])
    assert await writer.submit(Call("q", lambda store, number: store.purging.run(number, extent))) == (2, True)
    assert await writer.submit(Call("q", lambda store, number: store.purging.run(number, extent))) == (0, True)
    assert [item.id for item in await driver.receive("q", 5, 0.0)] == ["0", "1", "new"]


async def test_a_purge_leaves_a_queue_of_the_same_name_that_is_declared_while_it_runs(make: Any) -> None:
    driver = await make()
    await driver.publish("q", [message("old")])
    extent = await driver._guard.get().submit(Call("q", lambda store, number: store.purging.begin(number)))
    await driver.delete("q")
    await driver.declare(QueueSpec("q"))
    await driver.publish("q", [message("new")])
    assert await driver._guard.get().submit(Call("q", lambda store, number: store.purging.run(number, extent))) == (
        0,
        True,
    )


async def test_the_number_of_a_message_is_not_used_again_in_its_queue(make: Any, path: Path) -> None:
    driver = await make()
    numbers = []
    for batch in (1, 3, 2):
        await driver.publish("q", [message(str(number)) for number in range(batch)])
        with closing(sqlite3.connect(path)) as connection:
            numbers += [number for (number,) in connection.execute("SELECT seq FROM messages ORDER BY seq")]
        assert await driver.purge("q") == batch
    assert numbers == [1, 2, 3, 4, 5, 6]


async def publish_later(driver: SQLiteDriver) -> None:
    await driver.depth("q")
    await driver.publish("q", [message("new")])


async def test_nack_of_a_message_with_a_key_and_a_delay(make: Any) -> None:
    clock = FakeClock()
    driver = await make(clock=clock)
    await driver.declare(QueueSpec("q", ordering="key"))
    await driver.publish("q", [message("a", key="k"), message("b", key="k", delay=5.0)])
    (first,) = await driver.receive("q", 5, 0.0)
    await driver.settle("q", [Nack(first.receipt, 10.0)])
    clock.advance(6.0)
    assert await driver.receive("q", 5, 0.0) == []
    clock.advance(6.0)
    (first,) = await driver.receive("q", 5, 0.0)
    await driver.settle("q", [Ack(first.receipt)])
    assert [item.id for item in await driver.receive("q", 5, 0.0)] == ["b"]


def test_a_bare_request_does_nothing() -> None:
    assert Request().run(None) is None  # type: ignore[arg-type]
    assert not Publish("q", Encoded()).is_abandoned


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_of_an_older_version_is_upgraded_with_what_it_holds(tmp_path: Path, version: int) -> None:
    path = tmp_path / "queue.db"
    first, *steps = (
        resources.files("tasuki.drivers.sqlite.schema").joinpath(name).read_text(encoding="utf-8")
        for name in schema.STEPS[:version]
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"{first}; PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {version};"
            "INSERT INTO queues (queue, name, lease, by_key, total, held) VALUES (7, 'old', 30, 0, 2, 1);"
            "INSERT INTO messages VALUES (1, 7, 9, NULL, 'id', x'62', x'80', 0);"
            "INSERT INTO ready VALUES (7, 9, 1, 0, NULL);"
            "INSERT INTO messages VALUES (2, 7, 9, NULL, 'held', x'62', x'80', 0);"
            "INSERT INTO held VALUES (1, 2, 7, 9, 3, NULL, 1, 0)"
        )
        connection.executescript(";".join(steps))

    async def run() -> None:
        driver = SQLiteDriver("db", SQLiteSettings(path=path))
        await driver.open()
        try:
            for name in ("old", "new"):
                await driver.declare(QueueSpec(name, dedup_window=60.0))
            taken = await driver.receive("old", 10, 0.0)
            assert [(got.id, got.attempt, got.suspect) for got in taken] == [("id", 1, False), ("held", 4, True)]
            for queue in ("old", "new"):
                await driver.publish(queue, [Outgoing("a", b"", {}), Outgoing("a", b"", {})])
                assert [got.id for got in await driver.receive(queue, 10, 0.0)] == ["a"]
        finally:
            await driver.close()

    asyncio.run(run())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.LAYOUT.version,)
        assert connection.execute("SELECT queue, name FROM queues ORDER BY queue").fetchall() == [
            (7, "old"),
            (8, "new"),
        ]


def test_the_number_of_a_deleted_queue_is_not_used_again(tmp_path: Path) -> None:
    async def run() -> list[int]:
        driver = SQLiteDriver("db", SQLiteSettings(path=tmp_path / "queue.db"))
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
        driver = SQLiteDriver("db", SQLiteSettings(path=tmp_path / "queue.db"), clock)
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


@pytest.mark.parametrize("is_used_by_another", [False, True])
def test_a_temporary_queue_goes_with_the_driver_that_receives_from_it(tmp_path: Path, is_used_by_another: bool) -> None:
    spec = QueueSpec("reply.1", temporary=True)

    async def run() -> list[str]:
        asks, answers = (SQLiteDriver(name, SQLiteSettings(path=tmp_path / "queue.db")) for name in ("asks", "answers"))
        for driver in (asks, answers):
            await driver.open()
            await driver.declare(spec)
            await driver.declare(QueueSpec("tasks"))
            await driver.attach("tasks", 1)
        await asks.attach(spec.name, 1)
        if is_used_by_another:
            await answers.attach(spec.name, 1)
        await answers.publish(spec.name, [Outgoing("late", b"", {})])
        await asks.close()
        with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM queues ORDER BY name")]
            assert connection.execute("SELECT count(*) FROM messages").fetchone()[0] == int(is_used_by_another)
        await answers.close()
        return names

    assert asyncio.run(run()) == (["reply.1", "tasks"] if is_used_by_another else ["tasks"])


def test_a_temporary_queue_goes_with_the_driver_that_declared_it_without_receiving(tmp_path: Path) -> None:
    async def run() -> list[str]:
        asks, answers = (SQLiteDriver(name, SQLiteSettings(path=tmp_path / "queue.db")) for name in ("asks", "answers"))
        for driver in (asks, answers):
            await driver.open()
            await driver.declare(QueueSpec("tasks"))
        await asks.declare(QueueSpec("reply.1", temporary=True))
        await answers.inspect(QueueSpec("reply.1", temporary=True))
        await answers.publish("reply.1", [message("reply")])
        await asks.close()
        names = names_in(tmp_path / "queue.db")
        with pytest.raises(QueueNotFoundError, match=r"'answers': queue 'reply\.1' is not in the database file"):
            await answers.publish("reply.1", [message("late")])
        assert not await answers.publish("tasks", [message("other")])
        await answers.close()
        return [*names, *names_in(tmp_path / "queue.db")]

    assert asyncio.run(run()) == ["tasks", "tasks"]


def test_what_an_older_version_left_of_temporary_queues_goes_when_the_file_is_opened(tmp_path: Path) -> None:
    async def run() -> list[str]:
        driver = SQLiteDriver("db", SQLiteSettings(path=tmp_path / "queue.db"))
        await driver.open()
        await driver.declare(QueueSpec("tasks"))
        with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as connection:
            connection.execute(
                "INSERT INTO queues (queue, name, lease, by_key, temporary) VALUES (9, 'reply.1', 1, 0, 1)"
            )
        await driver.close()
        await driver.open()
        await driver.depth("tasks")
        await driver.close()
        return names_in(tmp_path / "queue.db")

    assert asyncio.run(run()) == ["tasks"]


def names_in(path: Path) -> list[str]:
    """The queues of a file."""
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM queues ORDER BY name")]


async def test_a_refused_publish_fails_no_other_of_its_group(make: Any) -> None:
    asks, answers = await make(), await make()
    await asks.declare(QueueSpec("reply", temporary=True))
    await answers.inspect(QueueSpec("reply"))
    waiting = asyncio.create_task(answers.receive("q", 1, 30.0))
    lost = asyncio.create_task(answers.receive("reply", 1, 30.0))
    await asyncio.sleep(0)
    await asks.delete("reply")
    results = await asyncio.gather(
        answers.publish("reply", [message("late")]),
        answers.publish("q", [message("good")]),
        return_exceptions=True,
    )
    assert type(results[0]) is QueueNotFoundError
    assert results[1] == ()
    assert [item.id for item in await waiting] == ["good"]
    with pytest.raises(QueueNotFoundError):
        await lost


async def test_a_new_connection_gives_no_older_options_to_the_file(make: Any, path: Path) -> None:
    older, newer = await make(), await make()
    await newer.declare(QueueSpec("q", lease=7.0, max_length=2))
    await older._guard.get().submit(Call("", lambda store, _: store.undo()))
    assert not await older.publish("q", [message("a"), message("b")])
    with pytest.raises(QueueFullError):
        await older.publish("q", [message("c")])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT lease, max_length FROM queues").fetchall() == [(7.0, 2)]


async def test_inspecting_tells_the_options_in_force(make: Any) -> None:
    one, other = await make(), await make()
    spec = QueueSpec("r", 7.0, 3, "key", 60.0, options={"x": 1})
    await one.declare(spec)
    assert await other.inspect(QueueSpec("r", options={"x": 1})) == spec
    assert await one.inspect(QueueSpec("r")) == QueueSpec("r", 7.0, 3, "key", 60.0)
    assert one._declared.specs["r"] is spec


async def test_a_process_remembers_nothing_of_undeclared_queues(make: Any) -> None:
    asks, answers = await make(), await make()
    for number in range(20):
        spec = QueueSpec(f"reply.{number}", temporary=True)
        await asks.declare(spec)
        await answers.inspect(spec)
        await answers.attach(spec.name, 1)
        await answers.publish(spec.name, [message("reply")])
        await answers.undeclare(spec.name)
        await asks.delete(spec.name)
    for driver in (asks, answers):
        assert list(driver._declared.specs) == ["q"]
        assert not driver._declared.inspected
        assert not driver._declared.consumers
        assert list(driver._guard.get()._database.store.queues._numbers) == ["q"]


async def test_a_failure_of_the_writers_thread_is_answered_known_and_mended(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await make()
    transact, seen = Writer._transact, []

    def fail_once(self: Writer, group: list[Request]) -> None:
        if any(isinstance(request, Publish) for request in group) and not seen:
            seen.append(threading.current_thread().name)
            raise MemoryError("no memory")
        transact(self, group)

    monkeypatch.setattr(Writer, "_transact", fail_once)
    async with asyncio.timeout(30):
        waiting = asyncio.create_task(driver.receive("q", 1, 30.0))
        await asyncio.sleep(0)
        with pytest.raises(BrokerUnavailableError, match="MemoryError: no memory") as failed:
            await driver.publish("q", [Outgoing("a", b"1", {})])
        assert failed.value.outcome == "unknown"
        with pytest.raises(BrokerUnavailableError):
            await waiting
        while "no memory" not in problems().get(seen[0], ""):  # for health, until it works again
            await asyncio.sleep(0.001)
        assert not any(await driver.publish("q", [Outgoing("a", b"1", {})]))
        assert [received.id for received in await driver.receive("q", 1, 30.0)] == ["a"]
        while seen[0] in problems():
            await asyncio.sleep(0.001)


async def test_a_writer_that_fails_can_be_closed(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await make()

    def fail(self: Writer, group: list[Request]) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(Writer, "_turn", fail)
    async with asyncio.timeout(30):
        await driver.close()


async def test_without_a_thread_the_broker_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SQLiteDriver("s", SQLiteSettings(path=str(path)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(BrokerUnavailableError, match="can't start new thread"):
            await driver.open()
    await driver.open()
    await driver.close()


def _no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
