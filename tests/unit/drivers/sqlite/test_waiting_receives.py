"""Which waiting receives a transaction tries, and what a transaction costs while many wait."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.thread.requests import Call, Receive
from tasuki.drivers.sqlite.thread.waiting_receives import WaitingReceives
from tasuki.testing.conformance import ShiftedClock
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio


def waiting_for(*receives: Receive) -> WaitingReceives:
    waiting = WaitingReceives()
    waiting.tried(receives)
    return waiting


async def test_only_receives_of_touched_changed_and_due_queues_are_tried() -> None:
    receives = {queue: Receive(queue, 1, 100.0) for queue in ("touched", "changed", "due", "later", "other")}
    waiting = waiting_for(*receives.values())
    waiting.change(["changed"])
    waiting.expect({"due": 10.0, "later": 11.0, "other": None, "nobody waits there": 1.0})
    assert waiting.due == 10.0
    assert set(waiting.wanted({"touched", "unknown"}, 10.0)) == {
        receives[name] for name in ("touched", "changed", "due")
    }
    waiting.tried([])
    waiting.expect({"due": None})
    assert waiting.wanted(set(), 10.0) == []
    assert waiting.due == 11.0
    assert waiting.take_over(0.0, ["later"]) == [receives["later"]]
    assert waiting.due == inf


async def test_they_are_tried_in_the_order_in_which_they_came() -> None:
    receives = [Receive("q", 1, deadline) for deadline in (3.0, 1.0, 2.0)]
    waiting = waiting_for(*receives)
    waiting.tried(receives)
    assert waiting.wanted({"q"}, 0.0) == [*waiting] == receives
    assert waiting.deadline == 1.0
    assert waiting.take_over(2.0) == [receives[1], receives[2]]
    assert waiting.deadline == 3.0
    waiting.discard(receives[0])
    assert not waiting
    assert waiting.deadline == inf


async def test_the_receives_of_cancelled_callers_are_dropped() -> None:
    receives = [Receive(queue, 1, 100.0) for queue in ("a", "b")]
    for receive in receives:
        receive.future = asyncio.get_running_loop().create_future()
        receive.future.cancel()
    waiting = waiting_for(*receives)
    assert waiting.wanted({"a"}, 0.0) == []
    assert waiting.queues == {"b"}
    waiting.prune()
    assert not waiting


async def test_the_deadlines_of_answered_receives_do_not_pile_up() -> None:
    waiting = waiting_for(Receive("q", 1, 100.0))
    for _ in range(1000):
        receive = Receive("q", 1, 200.0)
        waiting.add(receive)
        waiting.discard(receive)
    assert len(waiting._deadlines) <= 110


async def receiving(path: Path, queues: int, clock: ShiftedClock) -> tuple[SQLiteDriver, list[asyncio.Task[list[str]]]]:
    """A driver on which this many queues are waited at, besides the queue ``q``."""
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=path), clock)
    await driver.open()
    await driver.declare(QueueSpec("q"))

    async def receive(name: str) -> list[str]:
        return [item.id for item in await driver.receive(name, 10, 60.0)]

    tasks = []
    for number in range(queues):
        await driver.declare(QueueSpec(f"q{number}"))
        tasks.append(asyncio.create_task(receive(f"q{number}")))
        await asyncio.sleep(0)
    await driver.depth("q")
    return driver, tasks


async def statements_of(driver: SQLiteDriver, verb: str) -> int:
    """How many statements the transactions of one verb have; without the sweep, which comes once a second."""
    statements: list[str] = []
    connection = driver._guard.get()._database.connection
    assert connection is not None
    driver._guard.get()._next_sweep = inf
    connection.set_trace_callback(statements.append)
    if verb == "publish":
        await driver.publish("q", [Outgoing("m", b"", {})])
    elif verb == "delay":
        await driver.publish("q", [Outgoing("m", b"", {}, delay=60.0)])
    elif verb == "nack":
        [received] = await driver.receive("q", 1, 0.0)
        await driver.settle("q", [Nack(received.receipt)])
    elif verb == "ack":
        [received] = await driver.receive("q", 1, 0.0)
        await driver.settle("q", [Ack(received.receipt)])
    await driver._guard.get().submit(Call("", lambda *_: connection.set_trace_callback(None)))
    count, is_within = 0, False
    for sql in statements:  # between transactions it looks for the commits of others, as time passes
        is_within = (is_within or sql.startswith("BEGIN")) and sql != "COMMIT"
        count += is_within
    return count


async def test_a_transaction_costs_the_same_however_many_receives_wait(tmp_path: Path) -> None:
    counts = []
    for queues in (1, 100):
        driver, tasks = await receiving(tmp_path / f"{queues}.db", queues, ShiftedClock())
        counts.append([await statements_of(driver, verb) for verb in ("publish", "delay", "nack", "ack")])
        await driver.close()
        assert await asyncio.gather(*tasks) == [[]] * queues
    assert min(counts[0]) > 3
    assert counts[0] == counts[1]


async def test_news_of_other_processes_cost_as_much_as_there_are(tmp_path: Path) -> None:
    """The other one declares all queues too; it publishes to one, and delays a message in another."""
    path = tmp_path / "queue.db"
    driver, tasks = await receiving(path, 100, clock := ShiftedClock())
    other, _ = await receiving(path, 0, clock)
    await other.declare(QueueSpec("q3"))
    await other.declare(QueueSpec("q4"))
    await driver.depth("q")
    connection = driver._guard.get()._database.connection
    driver._guard.get()._next_sweep = inf
    statements: list[str] = []
    connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
    await other.publish("q3", [Outgoing("ready", b"", {})])
    assert await tasks.pop(3) == ["ready"]
    await other.publish("q4", [Outgoing("delayed", b"", {}, delay=30.0)])
    await driver.depth("q")
    assert sum("min(queue)" in sql for sql in statements) <= 20
    assert sum("min(ready_at)" in sql for sql in statements) <= 2
    clock.advance(31.0)
    await driver.publish("q", [Outgoing("m", b"", {})])
    assert await tasks.pop(3) == ["delayed"]
    await other.close()
    await driver.close()
    assert await asyncio.gather(*tasks) == [[]] * 98


async def test_a_receive_finds_the_queue_that_another_process_deleted_and_made_again(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    driver, [task] = await receiving(path, 1, clock := ShiftedClock())
    other, _ = await receiving(path, 0, clock)
    await other.declare(QueueSpec("q0"))
    await other.delete("q0")
    await other.declare(QueueSpec("q0"))
    await other.publish("q0", [Outgoing("m", b"", {})])
    clock.advance(2.0)
    await driver.depth("q")
    assert await task == ["m"]
    await other.close()
    await driver.close()
