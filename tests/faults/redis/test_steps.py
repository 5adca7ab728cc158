"""No script at Redis works longer the more messages wait, and a change of the ordering goes in steps."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import copy
from typing import Any, Literal

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.session import LAYOUT
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import SECONDS

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

# A scan of a small key would show all of it at once.
OPTIONS = ("--hash-max-ziplist-entries", "4", "--zset-max-ziplist-entries", "4")

Patch = Callable[[str, str], str]
KEYED, PLAIN = QueueSpec("q", ordering="key", lease=60.0), QueueSpec("q", lease=60.0)
WORK = 20_000
"""Words that a script may give to the server and get from it: about sixty for a message of a portion."""


def patch_scripts(monkeypatch: pytest.MonkeyPatch, patch: Patch) -> None:
    """Give all scripts other texts; ``patch`` gets the name of each and its text."""
    for name, script in list(vars(scripts).items()):
        if isinstance(script, scripts.Script):
            changed = copy(script)
            changed._set(patch(name, script.text))
            monkeypatch.setattr(scripts, name, changed)


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few messages make several steps of a conversion."""

    def small(name: str, text: str) -> str:
        assert name in ("CHECK", "KEEP") or "local PORTION = 200" in text  # which move no message
        return text.replace("local PORTION = 200", "local PORTION = 4")

    patch_scripts(monkeypatch, small)


COUNTING = """
local work, call = 0, redis.call
local function size(value)
  if type(value) ~= 'table' then
    return 1
  end
  local sum = 0
  for _, item in ipairs(value) do
    sum = sum + size(item)
  end
  return sum
end
local redis = setmetatable({call = function(...)
  local answer = call(...)
  work = work + size({...}) + size(answer)
  call('ZADD', 'work', 'GT', work, '%s')
  return answer
end}, {__index = redis})
"""


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts note the most words that one of them has exchanged with the server."""
    patch_scripts(monkeypatch, lambda name, text: COUNTING % name + text)


async def ask(driver: RedisDriver, *words: str) -> Any:
    return await driver._session.nodes("q").call(0, *words)


async def publish(driver: RedisDriver, count: int, *, delay: float = 0.0, keys: int = 700) -> None:
    for start in range(0, count, 100):
        batch = [
            Outgoing(str(start + index), b"", {}, key=str((start + index) % keys), delay=delay) for index in range(100)
        ]
        assert not await driver.publish("q", batch)


@pytest.mark.usefixtures("counting")
async def test_the_work_of_a_script_has_a_bound(broker: Redis) -> None:
    count = 4_000
    async with driver_at(broker.port, spec=PLAIN) as driver:
        await publish(driver, count)
        await publish(driver, count, delay=600.0)
        await driver.declare(KEYED)
        held = await driver.receive("q", 50, 0.0)
        await driver.depth("q")
        assert len(await driver.peek("q", 10, count)) == 10
        assert len(await driver.peek("q", 10, 2 * count - 60)) == 10
        await driver.settle("q", [Release(item.receipt) for item in held])
        await driver.declare(PLAIN)
        await driver.declare(KEYED)
        assert await driver.purge("q") == 2 * count
        for due in (0.001, 600.0):
            await publish(driver, count, delay=due)
        while (await driver.depth("q")).ready < count:
            pass
        await driver.declare(QueueSpec("q", dedup_window=600.0))
        await publish(driver, count)
        ids = "{tasuki:q}:ids"
        assert await ask(driver, "ZUNIONSTORE", ids, "1", ids, "WEIGHTS", "0") == count  # as if published long ago
        await driver.publish("q", [Outgoing("last", b"", {})])
        await driver.delete("q")
        scores = await ask(driver, "ZRANGE", "work", "0", "-1", "WITHSCORES")
        work = dict(zip(scores[::2], map(int, scores[1::2]), strict=True))
        names = ("DECLARE", "CONVERT", "PUBLISH", "RECEIVE", "SETTLE", "DEPTH", "PEEK", "PURGE", "DELETE")
        assert work.keys() == {name.encode() for name in names}
        assert {name: words for name, words in work.items() if words > WORK} == {}


class Traffic:
    """Everything that can be done with a queue, at random, in between the steps of conversions."""

    def __init__(self, driver: RedisDriver, seed: int) -> None:
        self.driver = driver
        self.random = random.Random(seed)
        self.held: list[Received] = []
        self.published: dict[str, str] = {}
        self.acked: list[str] = []

    async def publish(self, count: int) -> None:
        batch = []
        for _ in range(count):
            id, key = str(len(self.published)), self.random.choice(["", *"abcdef"])
            self.published[id] = key
            delay = self.random.choice([0.0, 0.0, 0.0, 0.01])
            batch.append(Outgoing(id, b"", {}, key=key or None, delay=delay, priority=self.random.choice([0, 0, 5])))
        assert not await self.driver.publish("q", batch)

    async def act(self) -> None:
        match self.random.randrange(5):
            case 0:
                await self.publish(self.random.randrange(1, 4))
            case 1:
                self.held += await self.driver.receive("q", self.random.randrange(1, 6), 0.0)
            case 2 | 3 if self.held:
                item = self.held.pop(self.random.randrange(len(self.held)))
                kind = self.random.choice([Ack, Nack, Release])
                assert not await self.driver.settle("q", [kind(item.receipt)])
                if kind is Ack:
                    self.acked.append(item.id)
            case _:
                await self.driver.settle("q", [Nack(item.receipt, 0.01) for item in self.held[2:]])
                del self.held[2:]

    async def drain(self) -> list[str]:
        """Ack the held messages, then receive and ack all, one of each key at a time."""
        await self.driver.settle("q", [Release(item.receipt) for item in self.held])
        drained: list[str] = []
        async with asyncio.timeout(SECONDS):
            while sum(await self.states()):
                got = await self.driver.receive("q", 100, 0.1)
                drained += [item.id for item in got]
                keys = [key for item in got if (key := self.published[item.id])]
                assert len(keys) == len(set(keys)), "two of a key are held"
                await self.driver.settle("q", [Ack(item.receipt) for item in got])
        self.acked += drained
        return drained

    async def states(self) -> tuple[int, int, int]:
        depth = await self.driver.depth("q")
        assert depth.in_flight is not None
        assert depth.delayed is not None
        return depth.ready, depth.in_flight, depth.delayed


@asynccontextmanager
async def conversions(port: int, monkeypatch: pytest.MonkeyPatch, seed: int, orderings: str) -> AsyncIterator[Traffic]:
    """Declare one ordering after the other, with traffic in between all steps."""
    async with driver_at(port, spec=PLAIN) as driver, driver_at(port, spec=PLAIN) as other:
        traffic = Traffic(other, seed)
        await traffic.publish(60)
        run, steps = driver._session.run, 0

        async def run_amid_traffic(nodes: Any, where: Any, script: Any, *words: Any) -> Any:
            nonlocal steps
            answer = await run(nodes, where, script, *words)
            if script in {scripts.DECLARE, scripts.CONVERT}:
                steps += 1
                for _ in range(traffic.random.randrange(4)):
                    await traffic.act()
            return answer

        monkeypatch.setattr(driver._session, "run", run_amid_traffic)
        for ordering in orderings:
            await driver.declare(KEYED if ordering == "k" else PLAIN)
        assert steps > 5 * len(orderings)
        yield traffic


def in_order(traffic: Traffic, drained: list[str]) -> bool:
    lines = defaultdict(list)
    for id in drained:
        if key := traffic.published[id]:
            lines[key].append(int(id))
    return all(line == sorted(line) for line in lines.values())


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("orderings", ["k", "kp", "kpk", "kpkpk"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_conversion_amid_everything_loses_nothing_and_keeps_the_order(
    broker: Redis, monkeypatch: pytest.MonkeyPatch, seed: int, orderings: str
) -> None:
    async with conversions(broker.port, monkeypatch, seed, orderings) as traffic:
        if orderings.endswith("k"):
            for _ in range(10):
                await traffic.act()
            drained = await traffic.drain()
            assert in_order(traffic, drained)
        else:
            monkeypatch.setattr(traffic, "published", {**traffic.published, **dict.fromkeys(traffic.published, "")})
            await traffic.drain()
        assert sorted(traffic.acked, key=int) == list(traffic.published)


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("ordering", ["key", "none"])
async def test_a_conversion_goes_on_when_its_process_dies(broker: Redis, ordering: Literal["key", "none"]) -> None:
    spec = QueueSpec("q", ordering="none" if ordering == "key" else "key")
    async with driver_at(broker.port, spec=spec) as dead, driver_at(broker.port, spec=spec) as worker:
        for number in range(30):
            await dead.publish("q", [Outgoing(f"{key}{number}", b"", {}, key=key) for key in "abc"])
        options = (30_000_000, "", ordering, "", "", "", "", LAYOUT)
        assert (await dead._session.ask("q", scripts.DECLARE, *options))[-1] == 1, "and it makes no step of its own"
        got: list[str] = []
        async with asyncio.timeout(SECONDS):
            while len(got) < 90:
                taken = await worker.receive("q", 10, SECONDS)
                got += [item.id for item in taken]
                await worker.settle("q", [Ack(item.receipt) for item in taken])
            while await ask(worker, "HGET", "{tasuki:q}:queue", "conversion"):
                assert not await worker.receive("q", 10, 0.0)
        assert sorted(got) == sorted(f"{key}{number}" for key in "abc" for number in range(30))
        assert await ask(worker, "EXISTS", *(f"{{tasuki:q}}:{part}" for part in ("lines", "fronts", "keyed"))) == 0


@pytest.mark.usefixtures("small_portions")
async def test_a_declaration_waits_for_the_conversion_of_another_process(broker: Redis) -> None:
    async with driver_at(broker.port, spec=PLAIN) as one, driver_at(broker.port, spec=PLAIN) as other:
        await publish(one, 100, keys=7)
        assert (await one._session.ask("q", scripts.DECLARE, 30_000_000, "", "key", "", "", "", "", LAYOUT))[-1] == 1
        await other.declare(KEYED)
        assert [item.id for item in await other.receive("q", 100, 0.0)] == [str(number) for number in range(7)]
