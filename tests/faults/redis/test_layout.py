"""Two versions side by side at one Redis: the version before with its own scripts, this one, and a later one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.redis import session
from tasuki.drivers.redis.codec import decoded, encoded, key_text
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.errors import ReplyError
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
        first, *others = self._where.keys[:OLD_KEYS]
        self._keys = [first.removesuffix(b":queue"), *others]
        self._tokens = 0

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

    async def settle(self, acks: Sequence[Old], nacks: Sequence[Old] = ()) -> Any:
        receipts = [item.receipt for item in (*acks, *nacks)]
        return await self._run("settle", len(acks), len(nacks), *receipts, *(0 for _ in nacks))

    async def _run(self, name: str, *words: Any) -> Any:
        text = "\n".join((OLD_SCRIPTS / f"{part}.lua").read_text() for part in ("common", name))
        return await self._nodes.call(0, "EVAL", text, OLD_KEYS, *self._keys, *words)


@asynccontextmanager
async def side_by_side(port: int, **fields: Any) -> AsyncIterator[tuple[OldProcess, RedisDriver]]:
    async with driver_at(port, **fields) as driver, driver_at(port, **fields) as connection:
        yield OldProcess(connection), driver


async def stored(nodes: Any) -> dict[str, Any]:
    """All that the server has."""
    return {name: await nodes.call(0, "DUMP", name) for name in sorted(await nodes.call(0, "KEYS", "*"))}


async def test_a_process_of_an_earlier_layout_is_refused_and_changes_nothing(broker: Redis) -> None:
    """It would not know how messages are kept, and leave some where no receive finds them."""
    async with side_by_side(broker.port) as (old, driver):
        await driver.publish("q", messages("a", "b"))
        (held,) = await driver.receive("q", 1, 0.0)
        nodes = driver._session.nodes("q")
        before = await stored(nodes)
        receipt = Old("a", bytes(held.receipt.encode() if isinstance(held.receipt, str) else held.receipt))
        for verb in (
            old.declare("key"),
            old.publish("c"),
            old.receive(),
            old.settle([receipt]),
            old.settle([], [receipt]),
        ):
            with pytest.raises(ReplyError, match="WRONGTYPE"):
                await verb
        assert await stored(nodes) == before


@pytest.mark.parametrize("verb", ["declare", "inspect"])
async def test_a_queue_of_an_earlier_layout_is_taken_over_with_its_messages(broker: Redis, verb: str) -> None:
    async with side_by_side(broker.port) as (old, driver):
        await driver.delete("q")
        await old.declare("none")
        await old.publish("a", "b")
        (held,) = await old.receive(1)
        await getattr(driver, verb)(QueueSpec("q"))
        assert [item.id for item in await take(driver, "q")] == ["b"]
        with pytest.raises(ReplyError, match="WRONGTYPE"):
            await old.settle([held])
        assert (await driver.depth("q")).in_flight == 2, "its lease ends by itself"


@pytest.mark.parametrize("use", ["publish", "receive", "ack", "sign"])
async def test_the_refusal_stays_as_long_as_a_queue_that_expires(broker: Redis, use: str) -> None:
    """Else an earlier process would find no queue, and make one of its own among the keys of this one."""
    spec = QueueSpec("q", options={"expires": 300.0})
    async with side_by_side(broker.port, spec=spec) as (old, driver):
        await driver.publish("q", messages("a", "b"))
        (held,) = await driver.receive("q", 1, 0.0)
        nodes = driver._session.nodes("q")
        for key in ("{tasuki:q}", "{tasuki:q}:queue"):
            assert await nodes.call(0, "PEXPIRE", key, "60000") == 1
        if use == "publish":
            await driver.publish("q", messages("c"))
        elif use == "receive":
            await driver.receive("q", 1, 0.0)
        elif use == "ack":
            assert not await driver.settle("q", [Ack(held.receipt)])
        else:
            await driver._queues.keep(nodes, ["q"])
        ends = [await nodes.call(0, "PEXPIRETIME", key) for key in ("{tasuki:q}", "{tasuki:q}:queue")]
        assert ends[0] == ends[1]
        assert await nodes.call(0, "PTTL", "{tasuki:q}") > 60_000
        with pytest.raises(ReplyError, match="WRONGTYPE"):
            await old.declare("none")


async def test_this_version_brings_the_layout_up_to_date_once(broker: Redis) -> None:
    async with side_by_side(broker.port) as (old, driver):
        await driver.delete("q")
        await old.declare("none")
        fields = "HMGET", "{tasuki:q}:queue", "version", "min_version"
        nodes = driver._session.nodes("q")
        await driver.declare(QueueSpec("q"))
        assert await nodes.call(0, *fields) == [b"%d" % number for number in session.LAYOUT]
        await nodes.call(0, "HSET", "{tasuki:q}:queue", "version", NEXT.version)
        await driver.declare(QueueSpec("q"))
        assert await nodes.call(0, *fields) == [b"%d" % number for number in NEXT]


async def test_a_queue_that_needs_a_newer_version_is_refused(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        nodes = driver._session.nodes("q")
        await nodes.call(0, "HSET", "{tasuki:q}:queue", "version", 9, "min_version", 9)
        before = await nodes.call(0, "HGETALL", "{tasuki:q}:queue")
        for verb in (driver.declare(QueueSpec("q", lease=99.0)), driver.inspect(QueueSpec("q"))):
            with pytest.raises(DriverError, match=r"queue 'q' at Redis has layout 9.*this one knows 6: upgrade it"):
                await verb
        assert await nodes.call(0, "HGETALL", "{tasuki:q}:queue") == before


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
        await nodes.call(0, "HSET", "{tasuki:q}:queue", "version", NEXT.version, "added", "x")
        await nodes.call(0, "ZADD", "{tasuki:q}:added", 1, "x")
        async with driver_at(broker.port) as starting:
            with monkeypatch.context() as newer_code:
                newer_code.setattr(session, "LAYOUT", NEXT)
                async with driver_at(broker.port) as newer:
                    for one, other in [(running, newer), (newer, starting), (starting, running)]:
                        await use(one, other)
                    assert await nodes.call(0, "HGET", "{tasuki:q}:queue", "added") == b"x"
                    assert await nodes.call(0, "HGET", "{tasuki:q}:queue", "version") == b"%d" % NEXT.version
