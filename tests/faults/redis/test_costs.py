"""A script for one message costs the server little beside its commands: it makes only the functions that it needs."""

from __future__ import annotations

import re

import pytest

from tasuki.contracts.driver import Ack, Limit, Merged, Nack, Outgoing, QueueSpec, Release, Unique
from tests.faults.redis.rig import driver_at
from tests.faults.redis.test_steps import patch_scripts
from tests.support.brokers.redis import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

LEFT = 2048
"""Bytes that a script for one message may leave to the collector; with all functions they were over four thousand."""

LEFT_OF_LANES = 3584
"""The same in a queue with lanes."""

OTHERS = 40
"""Commands of a script beside those for each key."""

MEASURED = """
local calls, call, run = 0, redis.call
do
local redis = setmetatable({call = function(...)
  calls = calls + 1
  return call(...)
end}, {__index = redis})
run = function()
%s
end
end
collectgarbage('stop')
local before = collectgarbage('count')
local answer = run()
call('ZADD', 'left', 'LT', math.ceil((collectgarbage('count') - before) * 1024), '%s')
call('ZADD', 'last', calls, '%s')
call('ZADD', 'most', 'GT', calls, '%s')
collectgarbage('restart')
return answer
"""


async def test_one_message_needs_few_commands_and_functions(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_scripts(monkeypatch, lambda name, text: MEASURED % (text, *[name] * 3))
    async with driver_at(broker.port) as driver:
        await driver.publish("q", [Outgoing("first", b"", {})])
        for _ in range(5):  # now and then the interpreter needs memory of its own
            await driver.publish("q", [Outgoing("a", b"", {})])
            (got,) = await driver.receive("q", 1, 0.0)
            assert not await driver.settle("q", [Ack(got.receipt)])
        nodes = driver._session.nodes("q")
        names = ("PUBLISH", "RECEIVE", "SETTLE")
        calls = {name: int(await nodes.call(0, "ZSCORE", "last", name)) for name in names}
        assert calls == {"PUBLISH": 7, "RECEIVE": 10, "SETTLE": 6}
        left = {name: int(await nodes.call(0, "ZSCORE", "left", name)) for name in names}
        assert {name: size for name, size in left.items() if size > LEFT} == {}


@pytest.mark.parametrize(
    ("places", "most"),
    [(None, {"PUBLISH": 13, "RECEIVE": 16, "SETTLE": 7}), (3, {"PUBLISH": 13, "RECEIVE": 18, "SETTLE": 10})],
)
async def test_one_message_of_a_lane_needs_few_more(
    broker: Redis, monkeypatch: pytest.MonkeyPatch, places: int | None, most: dict[str, int]
) -> None:
    patch_scripts(monkeypatch, lambda name, text: MEASURED % (text, *[name] * 3))
    spec = QueueSpec("q", fair=1, lane_limit=None if places is None else Limit(concurrency=places))
    async with driver_at(broker.port, spec=spec) as driver:
        for lanes in ("ab", "aaab"):
            for number, lane in enumerate(lanes):
                await driver.publish("q", [Outgoing(f"{lane}{number}", b"", {}, lane=lane)])
            for _ in lanes:
                (got,) = await driver.receive("q", 1, 0.0)
                assert not await driver.settle("q", [Ack(got.receipt)])
        nodes = driver._session.nodes("q")
        calls = {name: int(await nodes.call(0, "ZSCORE", "most", name)) for name in most}
        assert calls == most
        left = {name: int(await nodes.call(0, "ZSCORE", "left", name)) for name in most}
        assert {name: size for name, size in left.items() if size > LEFT_OF_LANES} == {}


async def test_keys_need_a_command_for_each_key_at_most(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_scripts(monkeypatch, lambda name, text: MEASURED % (text, *[name] * 3))
    keys = 100
    batch = [Outgoing(str(number), b"", {}, key=str(number % keys)) for number in range(2 * keys)]
    async with driver_at(broker.port, spec=QueueSpec("q", ordering="key")) as driver:
        for settlement in (Ack, Release, Nack):
            await driver.publish("q", batch)
            held = await driver.receive("q", keys, 0.0)
            assert not await driver.settle("q", [settlement(item.receipt) for item in held])
        await driver.declare(QueueSpec("q"))
        await driver.declare(QueueSpec("q", ordering="key"))
        await driver.purge("q")
        found = await driver._session.nodes("q").call(0, "ZRANGE", "most", 0, -1, "WITHSCORES")
        calls = dict(zip(map(bytes.decode, found[::2]), map(int, found[1::2]), strict=True))
        assert calls.keys() >= {"PUBLISH", "SETTLE", "CONVERT", "PURGE"}
        assert {name: number for name, number in calls.items() if number > keys + OTHERS} == {}


HELD = 20_000


async def test_a_unique_publish_beside_many_held_messages_of_other_keys_is_quick(broker: Redis) -> None:
    """By the server's own count of the time of its scripts: one message, and a hundred in one batch."""
    spec = QueueSpec("q", ordering="key", lease=600.0)
    async with driver_at(broker.port, spec=spec) as driver:
        nodes = driver._session.nodes("q")
        for start in range(0, HELD, 1000):
            batch = [Outgoing(f"m{number}", b"", {}, key=f"k{number}") for number in range(start, start + 1000)]
            await driver.publish("q", batch)
        while held := await driver.receive("q", 1000, 0.0):
            assert held
        for number in (1, 100):
            twice = [
                Outgoing(f"u{number}-{count}", b"", {}, key=f"k{count}", unique=Unique(f"u{number}-{count}"))
                for count in range(number)
            ]
            assert not any(await driver.publish("q", twice))
            spent: list[int] = []
            for _ in range(10):  # a busy machine makes the server wait amid a script
                await nodes.call(0, "CONFIG", "RESETSTAT")
                answers = await driver.publish("q", twice)
                assert len([each for each in answers if isinstance(each, Merged)]) == number
                stats = (await nodes.call(0, "INFO", "commandstats")).decode()
                found = re.findall(r"cmdstat_eval(?:sha)?:calls=\d+,usec=(\d+)", stats)
                spent.append(sum(map(int, found)))
            assert min(spent) / number < 5000, f"{spent} microseconds for {number}"
