"""Limits and lanes at SQLite: workers in several processes that are killed or frozen, and what they held."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Limit, Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.testing.conformance.clock import Taken, check_windows
from tests.faults.freezing import FREEZES, IS_CAMPAIGN, freeze_until
from tests.support.settings import parsed

KILLS, MESSAGES = (66, 4000) if IS_CAMPAIGN else (5, 250)
WORKERS = 3
LEASE = 5.0
KEYS = [f"key{number}" for number in range(5)]

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
async def driver(path: Path) -> AsyncIterator[SQLiteDriver]:
    driver = SQLiteDriver("test", parsed(SQLiteSettings, path=path, busy_timeout=20.0))
    await driver.open()
    yield driver
    await driver.close()


@dataclass
class History:
    """What workers told, by lane: intervals in which a message was held for sure, and what receives took.

    A worker that is frozen holds its messages until their leases end.
    """

    held: defaultdict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    taken: defaultdict[str, list[Taken]] = field(default_factory=lambda: defaultdict(list))
    handled: Counter[str] = field(default_factory=Counter)

    def add(self, lines: list[str], ended: float) -> None:
        """Of one worker, which lived until ``ended`` at least; of a line that was cut off nothing is known."""
        since: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for line in lines:
            what, *words = line.split()
            if what == "took":
                before, after, *ids = words
                for id in ids:  # a worker that was frozen may get one again
                    since[id].append((float(after), float(before) + LEASE))
                for lane, number in Counter(id.split("-")[0] for id in ids).items():
                    self.taken[lane].append(Taken(float(before), float(after), number))
            elif what == "stale":
                self.handled[words[0]] -= 1
            else:
                at, id = words
                began, until = since[id].pop(0)
                self._hold(id, began, min(float(at), until))
                self.handled[id] += 1
        for id, held in since.items():
            for began, until in held:
                self._hold(id, began, min(ended, until))

    def _hold(self, id: str, began: float, ended: float) -> None:
        self.held[id.split("-", maxsplit=1)[0]].append((began, max(began, ended)))

    def most_at_once(self, lane: str) -> int:
        """The largest number of messages that were held at one time."""
        steps = sorted([(began, 1) for began, _ in self.held[lane]] + [(ended, -1) for _, ended in self.held[lane]])
        count = most = 0
        for _, step in steps:
            count += step
            most = max(most, count)
        return most


@dataclass
class Worker:
    """A process and the file of what it tells."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self, history: History) -> None:
        assert self.process.poll() is None, "it has ended by itself"
        ended = time.monotonic()
        self.process.kill()
        self.process.wait()
        text = self.log.read_text()
        history.add(text[: text.rfind("\n") + 1].splitlines(), ended)


@contextmanager
def worker(path: Path, number: int) -> Iterator[Worker]:
    log = path.with_name(f"worker{number}.txt")
    with log.open("wb") as file:
        script = Path(__file__).with_name("limited_worker.py")
        process = subprocess.Popen([sys.executable, str(script), str(path)], stdout=file)
    try:
        yield Worker(process, log)
    finally:
        process.kill()
        process.wait()


async def left(driver: SQLiteDriver) -> int:
    depth = await driver.depth("q")
    return depth.ready + (depth.in_flight or 0)


async def is_drained(driver: SQLiteDriver) -> bool:
    return not await left(driver)


async def run(driver: SQLiteDriver, path: Path, history: History, fault: str) -> list[str]:
    """Publish while workers handle messages and are killed and replaced, or frozen; returns the published ids."""
    numbers = random.Random()
    ids = [f"{numbers.choice(KEYS)}-{number}" for number in range(MESSAGES)]
    with ExitStack() as stack:
        started = [stack.enter_context(worker(path, number)) for number in range(WORKERS)]
        strikes = KILLS if fault == "killed" else FREEZES
        part = MESSAGES // strikes
        for number in range(strikes):
            batch = ids[number * part : (number + 1) * part if number < strikes - 1 else MESSAGES]
            assert not await driver.publish("q", [Outgoing(id, b"", {}, lane=id.split("-")[0]) for id in batch])
            while await left(driver) > part / 2:  # all are busy
                await driver.receive("none", 1, 0.02)
            if fault == "frozen":
                await freeze_until(numbers.choice(started).process.pid, partial(is_drained, driver))
                continue
            started.pop(numbers.randrange(WORKERS)).kill(history)
            started.append(stack.enter_context(worker(path, WORKERS + number)))
        while await left(driver):
            await driver.receive("none", 1, 0.1)
        for each in started:
            each.kill(history)
    return ids


@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.parametrize(
    "limit", [Limit(concurrency=3), Limit(rate=80.0, burst=5, concurrency=4)], ids=["places", "rate"]
)
async def test_limits_of_keys_hold_while_workers_are_killed_or_frozen(
    driver: SQLiteDriver, path: Path, limit: Limit, fault: str
) -> None:
    await driver.declare(QueueSpec("none"))
    await driver.declare(QueueSpec("q", lease=LEASE, fair=1, lane_limit=limit))
    history = History()
    published = await run(driver, path, history, fault)
    assert limit.concurrency is not None
    assert {lane: history.most_at_once(lane) <= limit.concurrency for lane in KEYS} == dict.fromkeys(KEYS, True)
    if limit.rate is not None:
        for lane in KEYS:
            check_windows(history.taken[lane], limit.rate, limit.burst)
    # Settled right before the kill: such a message has gone, or comes again.
    assert {id for id, times in history.handled.items() if times} == set(published)
    assert sum(history.handled.values()) <= MESSAGES + KILLS * 4
    await forget(driver)
    assert left_behind(path) == {"messages": 0, "ready": 0, "held": 0, "lanes": 0}


async def forget(driver: SQLiteDriver) -> None:
    """Let the rates recover and a sweep pass: both take a second at most."""
    for _ in range(3):
        await driver.receive("q", 1, 1.1)


def left_behind(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = ("messages", "ready", "held", "lanes")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


async def test_few_messages_behind_very_many_of_another_tenant(driver: SQLiteDriver, path: Path) -> None:
    """Counted, not timed: how many of the noisy one are handed out before all of the others are."""
    await driver.declare(QueueSpec("q", fair=1))
    for start in range(0, 100_000, 5000):
        await driver.publish("q", [Outgoing(f"noisy-{start + n}", b"", {}, lane="noisy") for n in range(5000)])
    others = [Outgoing(f"other{number}-0", b"", {}, lane=f"other{number}") for number in range(1000)]
    await driver.publish("q", others)
    taken: list[str] = []
    while not {message.id for message in others} <= set(taken):
        got = await driver.receive("q", 100, 0.0)
        await driver.settle("q", [Ack(item.receipt) for item in got])
        taken += [item.id for item in got]
    last = max(taken.index(message.id) for message in others)
    assert last - len(others) < 3
    assert await driver.purge("q") == 101_000 - len(taken)
    await forget(driver)
    assert left_behind(path) == {"messages": 0, "ready": 0, "held": 0, "lanes": 0}


async def test_a_claim_beside_very_many_blocked_messages_reads_none_of_them(driver: SQLiteDriver) -> None:
    """Counted in instructions of SQLite's machine; 100 are what some ten rows cost."""
    await driver.declare(QueueSpec("q", fair=1, lane_limit=Limit(concurrency=1)))
    connection: Any = driver._guard.get()._database.connection

    async def cost() -> int:
        await driver.publish("q", [Outgoing("x", b"", {}, lane="other")])
        ticks: list[None] = []
        connection.set_progress_handler(lambda: ticks.append(None), 1)
        (got,) = await driver.receive("q", 10, 0.0)
        connection.set_progress_handler(None, 0)
        assert got.id == "x"
        assert not await driver.settle("q", [Ack(got.receipt)])
        return len(ticks)

    await driver.publish("q", [Outgoing(f"{number}", b"", {}, lane="noisy") for number in range(10)])
    await driver.receive("q", 10, 0.0)
    few = await cost()
    for start in range(0, 100_000, 5000):
        await driver.publish("q", [Outgoing(f"{start + n}", b"", {}, lane="noisy") for n in range(5000)])
    assert await cost() <= few + 100
