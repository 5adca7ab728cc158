"""SQLite with several processes, some of which die."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tests.support.asker import QUEUE, asker
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

SECONDS = 10.0
"""Long enough for a slow machine; nothing waits that long where all is well."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
async def driver(path: Path) -> AsyncIterator[SQLiteDriver]:
    driver = SQLiteDriver("test", parsed(SQLiteSettings, path=path))
    await driver.open()
    await driver.declare(QueueSpec("q"))
    yield driver
    await driver.close()


async def publish(driver: SQLiteDriver, number: int) -> list[str]:
    batch = [Outgoing(f"m{count}", b"body", {}) for count in range(number)]
    assert not await driver.publish("q", batch)
    return [message.id for message in batch]


async def take(driver: SQLiteDriver, number: int) -> list[Received]:
    taken: list[Received] = []
    end = time.monotonic() + SECONDS
    while len(taken) < number and time.monotonic() < end:
        taken += await driver.receive("q", number - len(taken), 1.0)
    assert len(taken) == number
    return taken


async def test_the_reply_queue_of_a_killed_process_goes_with_its_replies(driver: SQLiteDriver, path: Path) -> None:
    """However many replies come late: none makes the queue again."""
    with asker(SQLiteDriver, {"path": str(path)}, {}) as process:
        assert process.line() == "there"
        await driver.inspect(QUEUE)
        await driver.publish(QUEUE.name, [Outgoing("m", b"in time", {})])
        assert process.line() == "in time"
        process.kill()
    end, refused = time.monotonic() + SECONDS, 0
    while refused < 3 and time.monotonic() < end:
        await driver.receive("q", 1, 0.05)  # who waits sweeps
        try:
            await driver.publish(QUEUE.name, [Outgoing("m", b"late", {})])
        except QueueNotFoundError:
            refused += 1
    assert refused == 3
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM queues").fetchall() == [("q",)]
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)


async def test_a_killed_holder_gives_back_at_once(driver: SQLiteDriver, path: Path, child: Any) -> None:
    published = await publish(driver, 5)
    holder = child("hold", path, 5)
    assert holder.stdout.readline().split() == ["held", *published]
    assert await driver.receive("q", 5, 1.5) == []  # swept at least once: a living holder keeps what it has
    holder.kill()
    killed = time.monotonic()
    got = await take(driver, 5)
    assert time.monotonic() - killed < 15.0, "the lease is 30 s, the lock of the holder tells at once"
    assert [(item.id, item.attempt, item.suspect) for item in got] == [(id, 1, True) for id in published]
    assert (await driver.depth("q")).in_flight == 5


async def test_a_forked_child_does_not_keep_a_dead_holder_alive(driver: SQLiteDriver, path: Path, child: Any) -> None:
    await publish(driver, 3)
    holder = child("hold_and_fork", path, 3)
    assert holder.stdout.readline() == "held\n"
    holder.wait()
    killed = time.monotonic()
    assert all(item.suspect for item in await take(driver, 3))
    assert time.monotonic() - killed < 15.0


async def test_a_stopped_holder_loses_its_lease_and_its_ack_is_stale(
    driver: SQLiteDriver, path: Path, child: Any
) -> None:
    await driver.declare(QueueSpec("q", lease=1.0))
    await publish(driver, 2)
    holder = child("ack_late", path, 2, LEASE="1")
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    await driver.declare(QueueSpec("q", lease=30.0))
    got = await take(driver, 2)
    holder.send_signal(signal.SIGCONT)
    answer, _ = holder.communicate("\n", timeout=SECONDS)
    assert answer == "stale 2\n"
    assert not await driver.settle("q", [Ack(item.receipt) for item in got])


async def test_every_confirmed_message_survives_the_kill_of_its_publisher(
    driver: SQLiteDriver, path: Path, child: Any
) -> None:
    for _ in range(3):
        publisher = child("publish", path, 7)
        confirmed = [publisher.stdout.readline() for _ in range(40)]
        publisher.kill()
        confirmed += publisher.stdout.readlines()
        ids = {id for line in confirmed if line.endswith("\n") for id in line.split()}
        found: Counter[str] = Counter()
        while got := await driver.receive("q", 500, 0.0):
            found.update(item.id for item in got)
            assert not await driver.settle("q", [Ack(item.receipt) for item in got])
        assert ids <= set(found)
        assert set(found.values()) == {1}
    await driver.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_three_processes_share_without_overlap(driver: SQLiteDriver, path: Path, child: Any) -> None:
    consumers = [child("consume", path, 7) for _ in range(3)]
    assert [consumer.stdout.readline() for consumer in consumers] == ["ready\n"] * 3
    published = await publish(driver, 1000)
    taken = [consumer.communicate(timeout=60)[0].split() for consumer in consumers]
    assert all(taken)
    assert Counter(id for part in taken for id in part) == Counter(published)
    assert (await driver.depth("q")).ready == 0


async def test_two_busy_processes_take_turns(driver: SQLiteDriver, path: Path, child: Any) -> None:
    publisher = child("publish", path, 10)
    publisher.stdout.readline()
    times = []
    for number in range(20):
        began = time.monotonic()
        await driver.publish("q", [Outgoing(f"mine{number}", b"", {})])
        times.append(time.monotonic() - began)
    assert max(times) < 2.0, "a busy writer does not starve another"


async def test_ten_processes_open_a_new_file_at_once(path: Path, child: Any) -> None:
    children = [child("one", path) for _ in range(10)]
    told = [process.communicate(timeout=60)[0].strip() for process in children]
    assert [process.returncode for process in children] == [0] * 10
    driver = SQLiteDriver("test", parsed(SQLiteSettings, path=path))
    await driver.open()
    await driver.declare(QueueSpec("q"))
    assert sorted(item.id for item in await take(driver, 10)) == sorted(told)
    await driver.close()


async def test_a_message_of_another_process_is_seen_soon(driver: SQLiteDriver, path: Path, child: Any) -> None:
    assert await driver.receive("q", 1, 1.2) == []  # quiet for a second: the slowest polling
    publisher = child("one", path)
    got = await take(driver, 1)
    assert publisher.communicate(timeout=SECONDS)[0].strip() == got[0].id


def in_a_fork(work: Callable[[], int]) -> int:
    """The exit status of a forked child that does the work."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_child_refuses_and_can_open_for_itself(driver: SQLiteDriver) -> None:
    published = await publish(driver, 1)

    def work() -> int:
        verb = driver.publish("q", [])
        try:
            verb.send(None)
        except BrokerUnavailableError as error:
            refused = "parent process" in str(error)
        closing_ = driver.close()
        try:
            closing_.send(None)
        except StopIteration:
            return 0 if refused else 1
        return 2

    assert in_a_fork(work) == 0
    assert [item.id for item in await take(driver, 1)] == published
