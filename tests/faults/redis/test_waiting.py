"""Many processes wait for one queue at Redis: how many are woken, and what if one is dead, frozen or has left."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.connecting.link import Word
from tasuki.drivers.redis.driver import RedisDriver
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Cluster, Redis
from tests.support.brokers.rig import SECONDS, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

SLOW = 1.0
"""Seconds that a busy machine may take between two requests."""
NEVER = 10 * SECONDS
"""No process checks by itself: only a wake-up brings a message."""
MANY = 8


class Process:
    """A driver; ``looks`` counts the scripts by which it asked for messages."""

    def __init__(self, driver: RedisDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = driver
        self.looks = 0
        finish = driver._session.finish

        async def counted(where: scripts.Place, script: scripts.Script, *arguments: Word) -> Any:
            self.looks += script is scripts.RECEIVE
            return await finish(where, script, *arguments)

        monkeypatch.setattr(driver._session, "finish", counted)

    def receive(self, wait: float = NEVER, limit: int = 10) -> asyncio.Task[list[Received]]:
        return asyncio.create_task(self.driver.receive("q", limit, wait))

    async def has(self, key: str) -> int:
        where = self.driver._session.place("q")
        key_name = next(each for each in where.keys if each.endswith(f":{key}".encode()))
        return int(await self.driver._session.nodes("q").call(where.slot, "ZCARD", key_name))

    async def run(self, script: scripts.Script, *words: Word) -> Any:
        return await self.driver._session.ask("q", script, *words)


@asynccontextmanager
async def processes(
    port: int, monkeypatch: pytest.MonkeyPatch, number: int = MANY, **fields: Any
) -> AsyncIterator[list[Process]]:
    fields = {"claim_interval": NEVER, **fields}
    async with AsyncExitStack() as stack:
        drivers = [await stack.enter_async_context(driver_at(port, **fields)) for _ in range(number)]
        yield [Process(driver, monkeypatch) for driver in drivers]


async def all_wait(those: Sequence[Process]) -> list[asyncio.Task[list[Received]]]:
    tasks = [process.receive() for process in those]
    async with asyncio.timeout(SECONDS):
        while await those[0].has("waiting") < len(those):
            await asyncio.sleep(0.01)
    for process in those:
        process.looks = 0
    return tasks


async def finished(tasks: Sequence[asyncio.Task[list[Received]]]) -> list[Received]:
    """What the first that ends has received; the others are cancelled."""
    async with asyncio.timeout(SECONDS):
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return [item for task in done for item in task.result()]


def looks(those: Sequence[Process]) -> int:
    return sum(process.looks for process in those)


async def test_one_message_wakes_one_process(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch) as all_:
        tasks = await all_wait(all_)
        await all_[-1].driver.publish("q", messages("a"))
        assert [item.id for item in await finished(tasks)] == ["a"]
        assert looks(all_) == 1


async def test_one_script_checks_many_idle_queues(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts_run: Counter[scripts.Script] = Counter()
    run = scripts.run

    async def counted(nodes: Any, slot: int, script: scripts.Script, *rest: Any) -> Any:
        scripts_run[script] += 1
        return await run(nodes, slot, script, *rest)

    monkeypatch.setattr(scripts, "run", counted)
    queues = [f"q{number}" for number in range(100)]
    async with driver_at(broker.port, claim_interval=0.01) as driver:
        for queue in queues:
            await driver.declare(QueueSpec(queue))
        waiting = {queue: asyncio.create_task(driver.receive(queue, 10, NEVER)) for queue in queues}
        async with asyncio.timeout(SECONDS):
            while not all(map(driver._receiver.waiters.is_registered, queues)):
                await asyncio.sleep(0.01)
            scripts_run.clear()
            while scripts_run[scripts.CHECK] < 10:
                await asyncio.sleep(0.01)
        assert set(scripts_run) == {scripts.CHECK}
        # A message of which no process hears: only a check finds it.
        await driver.publish("q", messages("a"))
        source, target = driver._session.place("q"), driver._session.place("q7")
        for key, new_key in zip(source.keys[1:3], target.keys[1:3], strict=True):
            await driver._session.nodes("q").call(source.slot, "RENAME", key, new_key)
        async with asyncio.timeout(SECONDS):
            assert [item.id for item in await waiting.pop("q7")] == ["a"]
        await finished([*waiting.values(), asyncio.create_task(driver.receive("q7", 1, 0.0))])


async def test_as_many_are_woken_as_there_are_messages(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch) as all_:
        tasks = await all_wait(all_)
        await all_[-1].driver.publish("q", messages("a"))
        await all_[-1].driver.publish("q", messages("b", "c"))
        async with asyncio.timeout(SECONDS):
            while sum(len(task.result()) for task in tasks if task.done()) < 3:
                await asyncio.sleep(0.01)
        assert looks(all_) <= 4, "one that finds nothing may have asked again"
        await finished([*tasks, all_[0].receive(0.0)])


async def test_one_message_wakes_one_of_the_consumers_in_a_process(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(broker.port, monkeypatch, 1) as (process,):
        tasks = [process.receive(limit=1) for _ in range(MANY)]
        async with asyncio.timeout(SECONDS):
            while not process.driver._receiver.waiters.is_registered("q") or process.looks < MANY:
                await asyncio.sleep(0.01)
        for number in range(MANY):
            process.looks = 0
            await process.driver.publish("q", messages(str(number)))
            async with asyncio.timeout(SECONDS):
                while sum(task.done() for task in tasks) <= number:
                    await asyncio.sleep(0.01)
            assert process.looks == 1
        assert sorted(item.id for task in tasks for item in task.result()) == [str(number) for number in range(MANY)]


async def test_a_process_that_waits_does_not_ask_for_each_receive(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(broker.port, monkeypatch, 1) as (process,):
        while not process.driver._receiver.waiters.is_registered("q"):
            assert await process.receive(0.01) == []
        process.looks = 0
        for _ in range(5):
            assert await process.receive(0.01) == []
        assert process.looks == 0
        await process.driver.publish("q", messages("a"))
        assert len(await finished([process.receive()])) == 1


async def test_news_for_all_during_a_check_is_not_passed_on(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch, 1) as (process,):
        await process.driver.publish("q", messages("a"))
        session, resigned = process.driver._session, 0
        finish = session.finish

        async def finish_after_news(where: scripts.Place, script: scripts.Script, *words: Word) -> Any:
            nonlocal resigned
            resigned += script is scripts.RESIGN
            process.driver._receiver.waiters.wake_one("q")
            return await finish(where, script, *words)

        monkeypatch.setattr(session, "finish", finish_after_news)
        assert [item.id for item in await process.receive()] == ["a"]
        assert resigned == 0


@pytest.mark.parametrize("back", [Nack, Release])
async def test_a_message_that_comes_back_wakes_one(
    broker: Redis, monkeypatch: pytest.MonkeyPatch, back: type[Nack] | type[Release]
) -> None:
    async with processes(broker.port, monkeypatch) as (holder, *others):
        await holder.driver.publish("q", messages("a"))
        (held,) = await take(holder.driver, "q")
        tasks = await all_wait(others)
        await holder.driver.settle("q", [back(held.receipt)])
        assert [item.id for item in await finished(tasks)] == ["a"]
        assert looks(others) == 1


async def test_a_due_message_wakes_one(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch) as all_:
        tasks = await all_wait(all_)
        await all_[0].driver.publish("q", messages("a", delay=0.3))
        assert [item.id for item in await finished(tasks)] == ["a"]
        assert looks(all_) <= 3, "one promises to check then, and checks; one promises to check at the end of its lease"


async def test_the_end_of_a_lease_wakes_one(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch) as (holder, *others):
        await holder.driver.declare(QueueSpec("q", lease=0.5))
        await holder.driver.publish("q", messages("a"))
        (held,) = await take(holder.driver, "q")
        tasks = await all_wait(others)
        assert [item.id for item in await finished(tasks)] == ["a"]
        assert looks(others) <= 2
        assert list(await holder.driver.settle("q", [Ack(held.receipt)])) == [held.receipt]


async def test_a_resting_key_wakes_one_when_it_is_free(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = QueueSpec("q", ordering="key")
    async with processes(broker.port, monkeypatch, spec=spec) as (holder, *others):
        await holder.driver.publish("q", messages("a", "b", key="k"))
        (held,) = await take(holder.driver, "q")
        tasks = await all_wait(others)
        await holder.driver.settle("q", [Ack(held.receipt)])
        assert [item.id for item in await finished(tasks)] == ["b"]
        assert looks(others) == 1


async def register_ghost(process: Process, owner: str = "ghost") -> None:
    """A process that waits, and will never answer."""
    again = await process.run(scripts.RECEIVE, 1, "none", 1, 1, owner, int(NEVER * 1e6), 0)
    assert again >= 0


async def test_a_dead_process_keeps_no_wake_up(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch, 1) as (process,):
        for number in range(3):
            await register_ghost(process, f"ghost{number}")
        task = process.receive()
        async with asyncio.timeout(SECONDS):
            while await process.has("waiting") < 4:
                await asyncio.sleep(0.01)
        await process.driver.publish("q", messages("a"))
        assert [item.id for item in await finished([task])] == ["a"]


async def test_a_dead_process_keeps_no_promise(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch, 1) as (process,):
        await process.driver.publish("q", messages("a", delay=0.5))
        await register_ghost(process)
        task = process.receive()  # it asks whether the ghost, that has promised, is there
        assert [item.id for item in await finished([task])] == ["a"]


async def test_a_frozen_process_keeps_a_message_until_the_next_check(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(broker.port, monkeypatch, 2, claim_interval=0.1) as (process, frozen):
        await register_ghost(process)
        silent = await frozen.driver._session.nodes("q").listener(0)
        silent.send("SUBSCRIBE", process.driver._session.place("q").channel + b":ghost")
        async with asyncio.timeout(SECONDS):
            while ":0" in broker.ask("PUBLISH", "{tasuki:q}:queue:ghost", "there?"):
                await asyncio.sleep(0.01)
        task = process.receive()
        async with asyncio.timeout(SECONDS):
            while await process.has("waiting") < 2:
                await asyncio.sleep(0.01)
        await process.driver.publish("q", messages("a"))
        assert [item.id for item in await finished([task])] == ["a"]


async def test_a_wake_up_for_a_process_that_waits_no_longer_is_passed_on(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(broker.port, monkeypatch, 3) as (left, cancelled, process):
        while not left.driver._receiver.waiters.is_registered("q"):
            assert await left.receive(0.01) == []
        gone = cancelled.receive()
        async with asyncio.timeout(SECONDS):
            while await left.has("waiting") < 2:
                await asyncio.sleep(0.01)
        gone.cancel()
        task = process.receive()
        async with asyncio.timeout(SECONDS):
            while await left.has("waiting") < 3:
                await asyncio.sleep(0.01)
        await process.driver.publish("q", messages("a"))
        assert [item.id for item in await finished([task])] == ["a"]


async def test_a_promise_of_a_process_that_waits_no_longer_is_passed_on(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(broker.port, monkeypatch, 2) as (left, process):
        await left.driver.publish("q", messages("a", delay=0.5))
        while not left.driver._receiver.waiters.is_registered("q"):
            assert await left.receive(0.01) == []
        assert [item.id for item in await finished([process.receive()])] == ["a"]


async def test_a_closed_process_is_not_woken(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch, 2) as (closed, process):
        await closed.driver.publish("q", messages("a"))
        await take(closed.driver, "q")
        while not closed.driver._receiver.waiters.is_registered("q"):
            assert await closed.receive(0.01) == []
        task = process.receive()
        async with asyncio.timeout(SECONDS):
            while await process.has("waiting") < 2:
                await asyncio.sleep(0.01)
        await closed.driver.close()
        assert [item.id for item in await finished([task])] == ["a"]
        assert await process.has("waiting") == 0


async def test_idle_processes_share_few_checks(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    number, second = 40, 1_000_000
    async with processes(broker.port, monkeypatch, 1) as (process,):
        owners = [f"p{turn % number}" for turn in range(5 * number)]
        answers = [await process.run(scripts.RECEIVE, 1, "none", 1, 1, owner, second, 0) for owner in owners]
        assert min(answers) >= second / 2
        assert max(answers) <= 1.5 * number * second
        checks: list[float] = []
        for owner in owners[:number]:
            again = await process.run(scripts.RECEIVE, 1, "none", 1, 1, owner, second, 0)
            checks.append(await process.driver.time() or 0.0)
            checks[-1] += again / second
        checks.sort()
        gaps = [later - earlier for earlier, later in pairwise(checks)]
        assert max(gaps) <= 1.5 + SLOW, "a turn is never longer"
        assert checks[-1] - checks[0] >= (number - 4) * 1.5 - SLOW, "checks a second, of all together"


async def test_processes_that_were_woken_do_not_all_check_at_the_same_time(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a burst each one has registered as the last: what a frozen one was woken for must not wait for a round."""
    number, second = 40, 1_000_000
    async with processes(broker.port, monkeypatch, 1) as (process,):
        where = process.driver._session.place("q")
        waiting = next(each for each in where.keys if each.endswith(b":waiting"))
        owners = [f"p{turn}" for turn in range(number)]
        checks: list[float] = []
        for owner in owners + owners:
            await process.driver._session.nodes("q").call(where.slot, "ZREM", waiting, owner)
            again = await process.run(scripts.RECEIVE, 1, "none", 1, 1, owner, second, 0)
            checks.append((await process.driver.time() or 0.0) + again / second)
        now, checks = await process.driver.time() or 0.0, sorted(checks[number:])
        assert max(later - earlier for earlier, later in pairwise([now, *checks])) <= 6.0 + SLOW
        assert checks[-1] - checks[0] >= 6.0


async def test_queues_that_one_process_alone_waits_for_leave_the_turns_of_shared_ones(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many workers waits for a queue of its machine, and for the queue of all: in its own each is the first."""
    number, second = 20, 1_000_000
    async with processes(broker.port, monkeypatch, 1) as (process,):
        session = process.driver._session
        shared = session.place("q")
        checks: list[float] = []
        for turn in range(2 * number):
            owner, own = f"p{turn % number}", f"m{turn % number}"
            await process.driver.declare(QueueSpec(own))
            for queue in ("q", own):
                await session.ask(queue, scripts.RECEIVE, 1, "none", 1, 1, owner, second, 0)
            asked = [(session.place(own), ()), (shared, ())]
            answers = await session.run_for_each(session.nodes(""), scripts.CHECK, (owner, second, int(10e6)), asked)
            checks.append((await process.driver.time() or 0.0) + answers[1] / second)
        checks = sorted(checks[number:])
        assert max(later - earlier for earlier, later in pairwise(checks)) <= 1.5 + SLOW
        assert checks[-1] - checks[0] >= (number - 4) * 1.5 - SLOW


async def test_checks_of_an_idle_queue_write_nothing(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(broker.port, monkeypatch, 1) as (process,):
        await register_ghost(process)
        before = offset(broker)
        for _ in range(10):
            await register_ghost(process)
        assert offset(broker) == before


def offset(broker: Redis) -> int:
    """Changes since the start, as the server counts them."""
    found = re.search(r"rdb_changes_since_last_save:(\d+)", broker.ask("INFO", "persistence"))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("queue", ["q", "r", "s", "t"])
async def test_one_message_wakes_one_process_of_a_cluster(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port, spec = Cluster.shared().port, QueueSpec(queue)
    fields = {"addrs": f"127.0.0.1:{port}", "is_cluster_mode": True, "prefix": "waiting"}
    async with processes(port, monkeypatch, 3, **fields) as all_:
        for process in all_:
            await process.driver.declare(QueueSpec("q"))
            await process.driver.receive("q", 1, 0.01)  # so that it listens at another node too
        await all_[0].driver.delete("q")
        for process in all_:
            await process.driver.declare(spec)
        tasks = [asyncio.create_task(process.driver.receive(queue, 1, NEVER)) for process in all_]
        nodes, where = all_[0].driver._session.nodes(queue), all_[0].driver._session.place(queue)
        async with asyncio.timeout(SECONDS):
            while await nodes.call(where.slot, "ZCARD", where.keys[-1]) < 3:
                await asyncio.sleep(0.01)
        before = Counter(process.looks for process in all_)
        await all_[0].driver.publish(queue, [Outgoing("a", b"", {})])
        assert [item.id for item in await finished(tasks)] == ["a"]
        after = Counter(process.looks for process in all_)
        assert sum((after - before).values()) == 1, "one has asked once more"
        await all_[0].driver.delete(queue)
