"""Redis with very many messages waiting: how long the scripts are, by the server's own slow log, and what one costs.

The server does not stop its clock where the machine stops the server. So two controls run beside the scripts, and need
nothing of the driver: a plain HSET into a large hash, and a loop in Lua without any data. What makes these longer than
they usually are makes a script longer too: a process on the same core, the pages that a server copies while its child
writes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received
from tasuki.drivers.redis import RedisDriver, scripts
from tests.support.brokers.redis import Redis

_GOAL_MS = 10.0
_BODY = b'{"id":"0190f3a2-7c1e","action":"resize","width":1920,"height":1080,"tags":["holiday","sea"]}'
_LOOP = "local sum = 0 for number = 1, %d do sum = sum + number end return 0"
_FIELDS = 200
"""Of one HSET of the control, in a hash of a thousand times as many."""
_SIZES = {1: 5_000, 10: 1_000, 100: 200, 500: 60}
"""Messages of a batch, and how many batches."""


def report(messages: int = 1_000_000) -> None:
    """Print what a script costs, then the time of each step with very many messages, and its longest scripts."""
    for measure in (_costs, lambda driver: _depth(driver, messages)):
        try:
            broker = Redis()
            broker.start()
        except SkipTest as reason:
            print(f"  {reason}")
            return
        try:
            asyncio.run(_with_driver(broker, measure))
        finally:
            broker.end()


async def _with_driver(broker: Redis, measure: Callable[[RedisDriver], Awaitable[None]]) -> None:
    driver = RedisDriver("bench", url=f"redis://127.0.0.1:{broker.port}")
    await driver.open()
    await driver.declare(QueueSpec("load"))
    await measure(driver)
    await driver.close()


async def _costs(driver: RedisDriver) -> None:
    """Microseconds of a script of each kind, by the number of its messages; of them in its commands."""
    print(f"  {'messages a script':<20}{'publish':>22}{'receive':>22}{'settle':>22}   us (of them in commands)")
    for size, count in _SIZES.items():
        batch = [Outgoing(str(number), _BODY, {}) for number in range(size)]
        held: list[list[Received]] = []
        line = f"  {size:<20}"

        async def publish(batch: Sequence[Outgoing] = batch) -> None:
            await driver.publish("load", batch)

        async def receive(size: int = size, held: list[list[Received]] = held) -> None:
            held.append(await driver.receive("load", size, 1.0))

        async def settle(held: list[list[Received]] = held) -> None:
            await driver.settle("load", [Ack(item.receipt) for item in held.pop()])

        for step in (publish, receive, settle):
            await _ask(driver, "CONFIG", "RESETSTAT")
            for _ in range(count):
                await step()
            whole, commands = await _spent(driver)
            line += f"{f'{whole:,.1f} ({commands:,.1f})':>22}"
        print(line, flush=True)


async def _spent(driver: RedisDriver) -> tuple[float, float]:
    """Microseconds of a script, and of the commands within it."""
    spent, calls = defaultdict(float), 1
    for line in (await _ask(driver, "INFO", "commandstats")).decode().splitlines()[1:]:
        name, _, values = line.removeprefix("cmdstat_").partition(":")
        fields = dict(value.split("=") for value in values.split(","))
        spent[name] = float(fields["usec"])
        if name == "evalsha":
            calls = int(fields["calls"])
    others = sum(spent[name] for name in spent.keys() - {"evalsha", "config|resetstat", "info"})
    return spent["evalsha"] / calls, others / calls


async def _depth(driver: RedisDriver, messages: int) -> None:
    for setting, value in (("slowlog-log-slower-than", 200), ("slowlog-max-len", 200_000)):
        await _ask(driver, "CONFIG", "SET", setting, value)
    half = messages // 2
    steps: dict[str, Awaitable[object]] = {
        f"publish {half:,} with keys": _publish(driver, half),
        f"publish {half:,} delayed with keys": _publish(driver, half, delay=3600.0),
        "declare with ordering: key": driver.declare(QueueSpec("load", ordering="key")),
        "depth": driver.depth("load"),
        "receive and ack 50,000": _consume(driver, 50_000),
        "peek behind the keys": driver.peek("load", 10, half // 2),
        "declare with ordering: none": driver.declare(QueueSpec("load")),
        "peek a delayed message": driver.peek("load", 10, messages - 60_000),
        "purge": driver.purge("load"),
        "delete": driver.delete("load"),
    }
    for name, step in steps.items():
        began = time.perf_counter()
        async with _controls(driver):
            await step
        took = time.perf_counter() - began
        found = await _times(driver)
        longest = max((max(times) for script, times in found.items() if script in _NAMES.values()), default=0.0)
        print(f"  {name:34} {took:7.2f} s; goal {_GOAL_MS:.0f} ms: {'met' if longest <= _GOAL_MS else 'MISSED'}")
        for script, times in found.items():
            ordered = sorted(times)
            late = sum(ms > _GOAL_MS / 2 for ms in times)
            print(
                f"    {script:12}{len(times):7,} x  p50 {statistics.median(ordered):5.1f}"
                f"  p99 {ordered[int(len(ordered) * 0.99)]:5.1f}  longest {ordered[-1]:5.1f} ms; {late} over 5 ms",
                flush=True,
            )


@asynccontextmanager
async def _controls(driver: RedisDriver) -> AsyncIterator[None]:
    """Plain work for the server beside the driver's."""

    async def run() -> None:
        for turn in range(1_000_000):
            first = turn % 1000 * _FIELDS
            words = [word for number in range(first, first + _FIELDS) for word in (str(number), _BODY)]
            await _ask(driver, "HSET", "control", *words)
            await _ask(driver, "EVAL", _LOOP % 100_000, 0)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _publish(driver: RedisDriver, count: int, delay: float = 0.0) -> None:
    for start in range(0, count, 500):
        batch = [
            Outgoing(str(number), _BODY, {}, key=f"key-{number % 50_000}", delay=delay)
            for number in range(start, start + 500)
        ]
        await driver.publish("load", batch)


async def _consume(driver: RedisDriver, count: int) -> None:
    while count > 0:
        taken = await driver.receive("load", 500, 1.0)
        count -= len(taken)
        await driver.settle("load", [Ack(item.receipt) for item in taken])


_NAMES = {each.hash.encode(): name.lower() for name, each in vars(scripts).items() if isinstance(each, scripts.Script)}


async def _times(driver: RedisDriver) -> dict[str, list[float]]:
    """Milliseconds of the scripts of each kind since the last call, and of the controls."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _, _, micro, words, *_ in await _ask(driver, "SLOWLOG", "GET", -1):
        if words[0] == b"EVALSHA":
            found[_NAMES[words[1]]].append(micro / 1000)
        elif words[0] == b"EVAL":
            found["(loop)"].append(micro / 1000)
        elif words[:2] == [b"HSET", b"control"]:
            found["(HSET)"].append(micro / 1000)
    await _ask(driver, "SLOWLOG", "RESET")
    return dict(sorted(found.items(), reverse=True))


async def _ask(driver: RedisDriver, *words: Any) -> Any:
    return await driver._session.nodes("load").call(0, *words)
