"""Two versions side by side at one Redis: the version before with its own scripts, this one, and a later one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.redis import scripts, session
from tasuki.drivers.redis.codec import decoded, encoded, key_text
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.toolkit.layout import Layout
from tasuki.errors import DriverError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import SECONDS, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

NEVER = 10 * SECONDS
OLD_SCRIPTS = Path(__file__).with_name("layout_1")
OLD_KEYS = 11
NEXT = Layout(session.LAYOUT.version + 1, session.LAYOUT.min_version)


class Old(NamedTuple):
    id: str
    receipt: bytes


class OldProcess:
    """A process of layout 1: the scripts of that time, on the connection of a driver that does nothing else."""

    def __init__(self, driver: RedisDriver) -> None:
        self._driver = driver
        self._where = driver._session.place("q")
        self._nodes = driver._session.nodes("q")
        self._tokens = 0
        self._news = asyncio.Event()

    async def listen(self) -> None:
        link = await self._nodes.listener(0)
        subscribed = asyncio.Event()
        link.on_push = lambda push: (self._news if push[0] == b"message" else subscribed).set()
        link.send("SUBSCRIBE", self._where.channel)
        async with asyncio.timeout(SECONDS):
            await subscribed.wait()

    async def declare(self, ordering: Literal["key", "none"]) -> None:
        await self._run("declare", 30_000_000, "", ordering, "", "")

    async def publish(self, *ids: str, key: str = "", delay: int = 0) -> None:
        words = [[encoded(Outgoing(id, b"", {})), 0, delay, key_text(key or None), 0] for id in ids]
        assert await self._run("publish", 1, *(word for each in words for word in each)) == len(ids)

    async def receive(self, limit: int = 10) -> list[Old]:
        self._tokens += 1
        answer = await self._run("receive", limit, f"old{self._tokens}", 1_000_000)
        if isinstance(answer, int):
            return []
        return [
            Old(decoded(content, place)[0], b"%b:old%d" % (place, self._tokens))
            for place, content in zip(*answer[:2], strict=True)
        ]

    async def waited_for(self) -> list[Old]:
        """Receive as that version does, but only when it is woken."""
        while not (got := await self.receive()):
            await self._news.wait()
            self._news.clear()
        return got

    async def settle(self, acks: Sequence[Old], nacks: Sequence[Old] = ()) -> Any:
        receipts = [item.receipt for item in (*acks, *nacks)]
        return await self._run("settle", len(acks), len(nacks), *receipts, *(0 for _ in nacks))

    async def _run(self, name: str, *words: Any) -> Any:
        text = "\n".join((OLD_SCRIPTS / f"{part}.lua").read_text() for part in ("common", name))
        return await self._nodes.call(0, "EVAL", text, OLD_KEYS, *self._where.keys[:OLD_KEYS], *words)


@asynccontextmanager
async def side_by_side(port: int, **fields: Any) -> AsyncIterator[tuple[OldProcess, RedisDriver]]:
    async with driver_at(port, **fields) as driver, driver_at(port, **fields) as connection:
        yield OldProcess(connection), driver


async def registered(driver: RedisDriver) -> None:
    async with asyncio.timeout(SECONDS):
        while not driver._receiver.waiters.is_registered("q"):
            await asyncio.sleep(0.01)


async def test_the_version_before_wakes_this_one(broker: Redis) -> None:
    async with side_by_side(broker.port, claim_interval=NEVER) as (old, driver):
        for delay in (0, 300_000):
            waiting = asyncio.create_task(driver.receive("q", 1, NEVER))
            await registered(driver)
            await old.publish("a", delay=delay)
            async with asyncio.timeout(SECONDS):
                (got,) = await waiting
            assert got.id == "a"
            await driver.settle("q", [Ack(got.receipt)])


async def test_this_version_wakes_the_one_before(broker: Redis) -> None:
    async with side_by_side(broker.port, claim_interval=NEVER) as (old, driver):
        await old.listen()
        for back in (None, Nack, Release):
            held = None
            if back is not None:
                await driver.publish("q", messages("a"))
                (held,) = await take(driver, "q")
            waiting = asyncio.create_task(old.waited_for())
            await asyncio.sleep(0)
            if back is not None and held is not None:
                await driver.settle("q", [back(held.receipt)])
            else:
                await driver.publish("q", messages("a"))
            async with asyncio.timeout(SECONDS):
                got = await waiting
            assert [item.id for item in got] == ["a"]
            assert await old.settle(got) == []


@pytest.mark.parametrize("ordering", ["key", "none"])
async def test_both_versions_work_on_one_queue(broker: Redis, ordering: Literal["key", "none"]) -> None:
    spec = QueueSpec("q", ordering=ordering)
    done: list[str] = []
    async with side_by_side(broker.port, spec=spec) as (old, driver), asyncio.timeout(SECONDS):
        await old.declare(ordering)
        for number in range(50):
            await old.publish(f"a{2 * number}", f"b{2 * number}", key="k" if number % 2 else "")
            await driver.publish("q", messages(f"a{2 * number + 1}", f"b{2 * number + 1}", key="k"))
            for _ in range(2):
                mine, theirs = await driver.receive("q", 3, 0.0), await old.receive(3)
                assert not {item.id for item in mine} & {item.id for item in theirs}
                done += [*(item.id for item in mine), *(item.id for item in theirs[1:])]
                assert not await driver.settle("q", [Ack(item.receipt) for item in mine])
                assert await old.settle(theirs[1:], theirs[:1]) == []
        while (await driver.depth("q")).ready:
            taken = await driver.receive("q", 10, 0.0)
            done += [item.id for item in taken]
            await driver.settle("q", [Ack(item.receipt) for item in taken])
        assert Counter(done) == Counter(f"{letter}{number}" for letter in "ab" for number in range(100))


@pytest.mark.parametrize("to", ["key", "none"])
async def test_a_conversion_beside_the_version_before_loses_nothing(
    broker: Redis, to: Literal["key", "none"], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = QueueSpec("q", ordering="none" if to == "key" else "key")
    done: set[str] = set()
    async with side_by_side(broker.port, spec=spec) as (old, driver), asyncio.timeout(SECONDS):
        await old.publish(*(str(number) for number in range(1000)), key="k")
        for start in range(1000, 2000, 100):
            await old.publish(*(str(start + number) for number in range(100)), key=f"k{start}")
        held = [*await old.receive(100), *await old.receive(100)]
        run = driver._session.run

        async def run_beside_old(*words: Any) -> Any:
            answer = await run(*words)
            got = await old.receive(5)
            done.update(item.id for item in got[1:])
            await old.settle(got[1:], [*got[:1], *held[-3:]])
            del held[-3:]
            return answer

        monkeypatch.setattr(driver._session, "run", run_beside_old)
        await driver.declare(QueueSpec("q", ordering=to))
        monkeypatch.undo()
        await old.settle((), held)
        while len(done) < 2000:
            taken = await driver.receive("q", 100, 0.05)
            done.update(item.id for item in taken)
            await driver.settle("q", [Ack(item.receipt) for item in taken])


async def test_the_version_before_may_convert_amid_a_conversion(broker: Redis) -> None:
    async with side_by_side(broker.port) as (old, driver), asyncio.timeout(SECONDS):
        for start in range(0, 1000, 100):
            await old.publish(*(str(start + number) for number in range(100)), key=f"k{start}")
        options = (30_000_000, "", "key", "", "", "", "", *session.LAYOUT)
        assert (await driver._session.ask("q", scripts.DECLARE, *options))[-1] == 1
        (held,) = await driver.receive("q", 1, 0.0)  # a step
        await old.declare("none")
        await driver.declare(QueueSpec("q", ordering="key"))
        done: list[str] = []
        await driver.settle("q", [Release(held.receipt)])
        while (await driver.depth("q")).ready:
            taken = await driver.receive("q", 100, 0.05)
            done += [item.id for item in taken]
            await driver.settle("q", [Ack(item.receipt) for item in taken])
        assert len(done) == len(set(done)) == 1000


async def test_this_version_brings_the_layout_up_to_date_once(broker: Redis) -> None:
    async with side_by_side(broker.port) as (old, driver):
        await driver.delete("q")
        await old.declare("none")
        fields = "HMGET", "{tasuki:q}", "version", "min_version"
        nodes = driver._session.nodes("q")
        assert await nodes.call(0, *fields) == [None, None]
        await driver.declare(QueueSpec("q"))
        assert await nodes.call(0, *fields) == [b"%d" % number for number in session.LAYOUT]
        await nodes.call(0, "HSET", "{tasuki:q}", "version", NEXT.version)
        await driver.declare(QueueSpec("q"))
        assert await nodes.call(0, *fields) == [b"%d" % number for number in NEXT]


async def test_a_queue_that_needs_a_newer_version_is_refused(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        nodes = driver._session.nodes("q")
        await nodes.call(0, "HSET", "{tasuki:q}", "version", 9, "min_version", 9)
        before = await nodes.call(0, "HGETALL", "{tasuki:q}")
        for verb in (driver.declare(QueueSpec("q", lease=99.0)), driver.inspect(QueueSpec("q"))):
            with pytest.raises(DriverError, match=r"queue 'q' at Redis has layout 9.*this one knows 5: upgrade it"):
                await verb
        assert await nodes.call(0, "HGETALL", "{tasuki:q}") == before


async def use(publisher: RedisDriver, consumer: RedisDriver) -> None:
    """Every verb."""
    await publisher.publish("q", [*messages("a", key="k"), *messages("b", priority=9), *messages("c", delay=0.1)])
    assert (await publisher.depth("q")).ready == 2
    assert len(await publisher.peek("q", 5)) == 3
    taken = await take(consumer, "q", 3)
    await consumer.start("q", [taken[0].receipt])
    await consumer.extend("q", [item.receipt for item in taken], 60.0)
    await consumer.settle("q", [Nack(taken[0].receipt), Release(taken[1].receipt), Ack(taken[2].receipt)])
    await publisher.declare(QueueSpec("q", ordering="key"))
    assert (await consumer.inspect(QueueSpec("q"))).ordering == "key"
    again = await take(publisher, "q", 2)
    assert not await publisher.settle("q", [Ack(item.receipt) for item in again])
    await consumer.publish("q", messages("left", key="k"))
    await consumer.declare(QueueSpec("q"))
    assert await publisher.purge("q") == 1


async def test_two_versions_work_side_by_side(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with driver_at(broker.port) as running:
        nodes = running._session.nodes("q")
        await nodes.call(0, "HSET", "{tasuki:q}", "version", NEXT.version, "added", "x")
        await nodes.call(0, "ZADD", "{tasuki:q}:added", 1, "x")
        async with driver_at(broker.port) as starting:
            with monkeypatch.context() as newer_code:
                newer_code.setattr(session, "LAYOUT", NEXT)
                async with driver_at(broker.port) as newer:
                    for one, other in [(running, newer), (newer, starting), (starting, running)]:
                        await use(one, other)
                    assert await nodes.call(0, "HGET", "{tasuki:q}", "added") == b"x"
                    assert await nodes.call(0, "HGET", "{tasuki:q}", "version") == b"%d" % NEXT.version
