"""Redis with very many messages waiting: the longest script of each kind, by the server's own slow log."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.redis import RedisDriver, scripts
from tests.support.brokers.redis import Redis

_GOAL_MS = 10.0
_BODY = b'{"id":"0190f3a2-7c1e","action":"resize","width":1920,"height":1080,"tags":["holiday","sea"]}'


def report(messages: int = 1_000_000) -> None:
    """Print the time of each step, and the longest script of each kind within it."""
    try:
        broker = Redis()
        broker.start()
    except SkipTest as reason:
        print(f"  {reason}")
        return
    try:
        asyncio.run(_measure(broker, messages))
    finally:
        broker.end()


async def _measure(broker: Redis, messages: int) -> None:
    driver = RedisDriver("bench", url=f"redis://127.0.0.1:{broker.port}")
    await driver.open()
    for setting, value in (("slowlog-log-slower-than", 500), ("slowlog-max-len", 100_000)):
        await _ask(driver, "CONFIG", "SET", setting, value)
    await driver.declare(QueueSpec("load"))
    half = messages // 2
    steps: dict[str, Awaitable[object]] = {
        f"publish {half:,} with keys": _publish(driver, half),
        f"publish {half:,} delayed with keys": _publish(driver, half, delay=3600.0),
        "declare with ordering: key": driver.declare(QueueSpec("load", ordering="key")),
        "depth": driver.depth("load"),
        "receive and ack 10,000": _consume(driver, 10_000),
        "peek behind the keys": driver.peek("load", 10, half // 2),
        "declare with ordering: none": driver.declare(QueueSpec("load")),
        "peek a delayed message": driver.peek("load", 10, messages - 20_000),
        "purge": driver.purge("load"),
        "delete": driver.delete("load"),
    }
    for name, step in steps.items():
        began = time.perf_counter()
        await step
        took = time.perf_counter() - began
        longest = await _longest(driver)
        verdict = "met" if max(longest.values(), default=0.0) <= _GOAL_MS else "MISSED"
        shown = ", ".join(f"{script} {ms:.1f} ms" for script, ms in longest.items()) or "under 0.5 ms"
        print(f"  {name:34} {took:7.2f} s; longest script {shown} (goal {_GOAL_MS:.0f} ms: {verdict})", flush=True)
    await driver.close()


async def _publish(driver: RedisDriver, count: int, delay: float = 0.0) -> None:
    for start in range(0, count, 500):
        batch = [
            Outgoing(str(number), _BODY, {}, key=f"key-{number % 50_000}", delay=delay)
            for number in range(start, start + 500)
        ]
        await driver.publish("load", batch)


async def _consume(driver: RedisDriver, count: int) -> None:
    for _ in range(0, count, 500):
        taken = await driver.receive("load", 500, 1.0)
        await driver.settle("load", [Ack(item.receipt) for item in taken])


async def _longest(driver: RedisDriver) -> dict[str, float]:
    """Milliseconds of the longest script of each kind since the last call."""
    names = {each.hash.encode(): name for name, each in vars(scripts).items() if isinstance(each, scripts.Script)}
    longest: defaultdict[str, float] = defaultdict(float)
    for _, _, micro, words, *_ in await _ask(driver, "SLOWLOG", "GET", -1):
        if words[0] == b"EVALSHA":
            name = names[words[1]].lower()
            longest[name] = max(longest[name], micro / 1000)
    await _ask(driver, "SLOWLOG", "RESET")
    return dict(longest)


async def _ask(driver: RedisDriver, *words: Any) -> Any:
    return await driver._session.nodes("load").call(0, *words)
