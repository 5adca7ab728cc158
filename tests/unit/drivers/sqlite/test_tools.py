"""No transaction of a tool grows with the number of messages, counted in steps of SQLite's virtual machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec, Release
from tasuki.drivers.sqlite import driver as driver_module
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.store import browsing, store
from tasuki.drivers.sqlite.thread.requests import Call
from tasuki.testing.conformance import ShiftedClock
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio

FEW, MANY = 200, 1000
OF_A_TRANSACTION = 50
"""Rows that one transaction of these tests may pass, count, show, surface or remove."""

FILLINGS: dict[str, Callable[[int], dict[str, Any]]] = {
    "ready": lambda number: {},
    "few keys": lambda number: {"key": str(number % 3)},
    "many keys": lambda number: {"key": str(number)},
    "delayed": lambda number: {"delay": 600.0},
    "delayed behind few keys": lambda number: {"key": str(number % 3), "delay": 600.0},
    "delayed with many keys": lambda number: {"key": str(number), "delay": 600.0},
    "due": lambda number: {"delay": 5.0},
    "due with many keys": lambda number: {"key": str(number), "delay": 5.0},
}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (browsing, "FIRST"), (browsing, "PART"), (browsing, "PASSED"), (browsing, "SHOWN"),
        (store, "SURFACED"), (store, "COUNTED"), (driver_module, "COUNTED"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, OF_A_TRANSACTION)
    monkeypatch.setattr(browsing, "SKIPPED", OF_A_TRANSACTION // 10)  # ten of these are in one transaction
    monkeypatch.setattr(browsing, "SECONDS", 0.0)


class Steps:
    """Counts the steps of each transaction; in tens, as SQLite reports them."""

    def __init__(self, driver: SQLiteDriver) -> None:
        self._driver = driver
        self._connection: Any = driver._guard.get()._database.connection
        self._running = 0
        self.longest = 0

    def _step(self) -> int:
        self._running += 1
        return 0

    def _statement(self, sql: str) -> None:
        if sql.startswith("BEGIN"):
            self._running = 0
        self.longest = max(self.longest, self._running)

    async def of(self, verb: Any) -> int:
        """The longest transaction of a verb."""
        self.longest = 0
        self._connection.set_trace_callback(self._statement)
        self._connection.set_progress_handler(self._step, 10)
        await verb
        await self._driver._guard.get().submit(Call("", lambda *_: None))
        self._connection.set_trace_callback(None)
        self._connection.set_progress_handler(None, 0)
        return self.longest


async def longest(path: Path, filling: str, count: int) -> dict[str, int]:
    """The longest transaction of each tool, with so many messages in its queue and in its neighbour's."""
    clock = ShiftedClock()
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=path), clock)
    await driver.open()
    for name in ("q", "neighbour", "empty", "remembers"):
        ordering: Any = "key" if "key" in filling else "none"
        await driver.declare(QueueSpec(name, ordering=ordering, dedup_window=60.0 if name == "remembers" else None))
    for name in ("q", "neighbour", "remembers"):
        for start in range(0, count, 200):
            batch = [Outgoing(str(n), b"body", {}, **FILLINGS[filling](n)) for n in range(start, start + 200)]
            await driver.publish(name, batch)
    clock.advance(10.0)
    steps = Steps(driver)
    found = {
        "delete an empty queue": await steps.of(driver.delete("empty")),
        "depth": await steps.of(driver.depth("q")),
        "peek": await steps.of(driver.peek("q", 10)),
        "peek at the end": await steps.of(driver.peek("q", 10, count - 10)),
    }
    depth = await driver.depth("q")
    assert (depth.ready, depth.delayed) == ((0, count) if filling.startswith("delayed") else (count, 0))
    assert len(await driver.peek("q", count)) == count
    found["purge"] = await steps.of(driver.purge("q"))
    assert await driver.peek("q", 1) == []
    found["delete"] = await steps.of(driver.delete("neighbour"))
    found["delete a queue that remembers ids"] = await steps.of(driver.delete("remembers"))
    rows = [f"SELECT count(*) FROM {table}" for table in ("messages", "ready", "delayed", "lines", "known")]
    counts = Call("", lambda store, _: [store._execute(sql).fetchone()[0] for sql in rows])
    assert await driver._guard.get().submit(counts) == [0] * len(rows)
    await driver.close()
    return found


@pytest.mark.parametrize("filling", FILLINGS)
async def test_no_transaction_of_a_tool_grows_with_the_number_of_messages(tmp_path: Path, filling: str) -> None:
    few, many = [await longest(tmp_path / f"{count}.db", filling, count) for count in (FEW, MANY)]
    assert few.keys() == many.keys()
    grown = {tool: (few[tool], many[tool]) for tool in few if many[tool] > 1.3 * few[tool] + 20}
    assert not grown


async def test_a_purge_spares_what_was_held_when_it_began_and_came_back_amid_the_others(tmp_path: Path) -> None:
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=tmp_path / "q.db"))
    await driver.open()
    await driver.declare(QueueSpec("q"))
    await driver.publish("q", [Outgoing(str(n), b"body", {}, priority=n % 2) for n in range(20)])
    taken = await driver.receive("q", 20, 0.0)
    held = [received for received in taken if received.id in ("4", "7", "8")]
    await driver.settle("q", [Release(received.receipt) for received in taken if received not in held])
    extent = await driver._ask(Call("q", lambda store, number: store.purging.begin(number)))
    await driver.settle("q", [Release(received.receipt) for received in held])
    purged = await driver._ask(Call("q", lambda store, number: store.purging._remove(number, extent, 20)))
    assert purged == 17
    assert sorted(message.id for message in await driver.peek("q", 20)) == ["4", "7", "8"]
    assert (await driver.depth("q")).ready == 3
    await driver.close()


@pytest.mark.parametrize(
    ("places", "held", "found"),
    [
        ([], [], []),
        ([(9, 1)], [], [(9, 1, 1)]),
        ([(9, 1), (9, 2), (9, 5)], [], [(9, 1, 5)]),
        ([(9, 1), (9, 2), (9, 5)], [3], [(9, 1, 2), (9, 5, 5)]),
        ([(9, 1), (0, 2), (9, 5), (0, 7)], [], [(0, 2, 7), (9, 1, 5)]),
        ([(9, 2), (9, 4), (9, 6)], [1, 3, 5, 7], [(9, 2, 2), (9, 4, 4), (9, 6, 6)]),
    ],
)
def test_ranges_hold_no_held_message(
    places: list[tuple[int, int]], held: list[int], found: list[tuple[int, int, int]]
) -> None:
    assert browsing.ranges(places, held) == found


@pytest.mark.parametrize(
    ("removed", "seconds", "following"),
    [
        (10, 0.0, 250),  # faster than the clock
        (10, 0.0001, 250),
        (10, 0.001, 90),  # 100 us each
        (100, 0.009, 11),
        (9, 0.0095, 0),  # not even one more
        (10, 0.01, 0),  # bodies of 1 MiB
        (1, 1.0, 0),
    ],
)
def test_a_part_is_as_large_as_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, removed: int, seconds: float, following: int
) -> None:
    monkeypatch.setattr(browsing, "SECONDS", 0.01)
    monkeypatch.setattr(browsing, "PART", 250)
    assert browsing.next_part(removed, seconds) == following


class Ticking(ShiftedClock):
    """Time that passes only when it is read, by the same each time."""

    TICK = 2**-10

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += self.TICK
        return self.now


@pytest.mark.parametrize("parts", [1, 3, 5])
async def test_a_purge_commits_once_for_all_parts_that_fit_into_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=tmp_path / "q.db"), Ticking())
    await driver.open()
    for name in ("q", "neighbour"):
        await driver.declare(QueueSpec(name))
        await driver.publish(name, [Outgoing(str(n), b"body", {}) for n in range(15 * OF_A_TRANSACTION)])
    monkeypatch.setattr(browsing, "SECONDS", parts * Ticking.TICK)
    commits: list[str] = []
    connection: Any = driver._guard.get()._database.connection
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    assert await driver.purge("q") == 15 * OF_A_TRANSACTION
    assert len(commits) == 15 // parts + 2, "and one to see what is there, one to see that nothing is left"
    connection.set_trace_callback(None)
    assert (await driver.depth("neighbour")).ready == 15 * OF_A_TRANSACTION
    await driver.close()


def test_no_statement_numbers_its_parameters() -> None:
    """Python 3.12 warns of ``?1`` with a sequence, and 3.14 refuses it; 3.11 takes it."""
    sources = [path for kind in ("*.py", "*.sql") for path in Path(driver_module.__file__).parent.rglob(kind)]
    assert len(sources) > 20
    assert [path.name for path in sources if re.search(r"\?\d", path.read_text(encoding="utf-8"))] == []
