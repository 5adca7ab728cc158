"""Redis with very many messages waiting: how long its scripts are, and what a script costs.

The server's clock goes on while the machine runs something else. So the CPU time of the server's main thread stands
beside the time by its slow log, and so does a control that needs nothing of the driver: a plain HSET into a large hash.
What makes the control longer than usual makes a script longer too: such as the pages that a server copies while its
child writes.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.connecting.link import Word
from tasuki.drivers.redis.connecting.nodes import Nodes
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tests.support.brokers.redis import Redis
from tests.support.settings import parsed

_GOAL_MS = 10.0
_NAMES = {each.hash.encode(): name.lower() for name, each in vars(scripts).items() if isinstance(each, scripts.Script)}
_CONTROL = "(HSET)"
_BODY = b'{"id":"0190f3a2-7c1e","action":"resize","width":1920,"height":1080,"tags":["holiday","sea"]}'
_FIELDS = 200
"""Of one HSET of the control, in a hash of a thousand times as many."""
_EVERY = 20
"""Scripts of the driver for each control."""
_SIZES = {1: 200, 10: 100, 100: 20, 500: 5}
"""Messages of a batch, and batches of one run."""
_RUNS = 25
"""The one with the least time counts: others had to share the machine."""


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
    driver = RedisDriver("bench", parsed(RedisSettings, url=broker.url))
    await driver.open()
    await driver.declare(QueueSpec("load"))
    await measure(driver)
    await driver.close()


async def _costs(driver: RedisDriver) -> None:
    """Microseconds of a script of each kind, by the number of its messages; of them in its commands."""
    print(f"  {'messages a script':<20}{'publish':>22}{'receive':>22}{'settle':>22}   us (of them in commands)")
    for size, count in _SIZES.items():
        runs = [await _cost(driver, size, count) for _ in range(_RUNS)]
        best = [min(steps) for steps in zip(*runs, strict=True)]
        shown = "".join(f"{f'{whole:,.1f} ({commands:,.1f})':>22}" for whole, commands in best)
        print(f"  {size:<20}{shown}", flush=True)


async def _cost(driver: RedisDriver, size: int, count: int) -> list[tuple[float, float]]:
    batch = [Outgoing(str(number), _BODY, {}) for number in range(size)]
    held: list[list[Received]] = []
    steps: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: driver.publish("load", batch),
        lambda: _receive(driver, size, held),
        lambda: driver.settle("load", [Ack(item.receipt) for item in held.pop()]),
    )
    spent = []
    for step in steps:
        await _ask(driver, "CONFIG", "RESETSTAT")
        for _ in range(count):
            await step()
        spent.append(await _spent(driver))
    return spent


async def _receive(driver: RedisDriver, size: int, held: list[list[Received]]) -> None:
    held.append(await driver.receive("load", size, 1.0))


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
    for setting, value in (("slowlog-log-slower-than", 1000), ("slowlog-max-len", 200_000)):
        await _ask(driver, "CONFIG", "SET", setting, value)
    half = messages // 2
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        f"publish {half:,} with keys": lambda: _publish(driver, half),
        f"publish {half:,} delayed with keys": lambda: _publish(driver, half, delay=3600.0),
        "declare with ordering: key": lambda: driver.declare(QueueSpec("load", ordering="key")),
        "publish 20,000 to keys in order": lambda: _publish(driver, 20_000),
        "depth": lambda: driver.depth("load"),
        "receive and ack 10,000": lambda: _consume(driver, 10_000),
        "peek behind the keys": lambda: driver.peek("load", 10, half // 2),
        "declare with ordering: none": lambda: driver.declare(QueueSpec("load")),
        "peek a delayed message": lambda: driver.peek("load", 10, messages - 20_000),
        "purge": lambda: driver.purge("load"),
        "delete": lambda: driver.delete("load"),
    }
    for name, step in steps.items():
        began = time.perf_counter()
        with _timed(driver) as spent:
            await step()
        took = time.perf_counter() - began
        by_clock = await _by_clock(driver)
        longest = max((max(times) for script, times in spent.items() if script != _CONTROL), default=0.0)
        print(f"  {name:34}{took:7.2f} s; goal {_GOAL_MS:.0f} ms: {'met' if longest <= _GOAL_MS else 'MISSED'}")
        for script, times in spent.items():
            ordered = sorted(times)
            print(
                f"    {script:10}{len(times):7,} x  CPU p50 {statistics.median(ordered):5.1f}  p99"
                f" {ordered[int(len(ordered) * 0.99)]:5.1f}  longest {ordered[-1]:5.1f} ms;"
                f" longest by the clock {by_clock.get(script, 1.0):5.1f} ms",
                flush=True,
            )


@contextmanager
def _timed(driver: RedisDriver) -> Iterator[dict[str, list[float]]]:
    """Milliseconds of CPU that the server spends on each script, and on a control between them."""
    spent: defaultdict[str, list[float]] = defaultdict(list)
    run, turns = scripts.run, itertools.count()

    async def run_timed(
        nodes: Nodes, slot: int, script: scripts.Script, keys: Sequence[bytes], arguments: Sequence[Word]
    ) -> Any:
        before = await _cpu(driver)
        answer = await run(nodes, slot, script, keys, arguments)
        spent[_NAMES[script.hash.encode()]].append(await _cpu(driver) - before)
        turn = next(turns)
        if turn % _EVERY == 0:
            before = await _cpu(driver)
            first = turn // _EVERY % 1000 * _FIELDS
            await _ask(
                driver, "HSET", _CONTROL, *(part for each in range(first, first + _FIELDS) for part in (each, _BODY))
            )
            spent[_CONTROL].append(await _cpu(driver) - before)
        return answer

    scripts.run = run_timed
    try:
        yield spent
    finally:
        scripts.run = run


async def _cpu(driver: RedisDriver) -> float:
    """Milliseconds of the server's main thread so far."""
    lines = (await _ask(driver, "INFO", "cpu")).decode().splitlines()
    return sum(float(line.partition(":")[2]) for line in lines if "main_thread" in line) * 1000


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


async def _by_clock(driver: RedisDriver) -> dict[str, float]:
    """Milliseconds of the longest script of each kind since the last call, and of the longest control."""
    longest: defaultdict[str, float] = defaultdict(float)
    for _, _, micro, words, *_ in await _ask(driver, "SLOWLOG", "GET", -1):
        if words[0] in {b"EVALSHA", b"HSET"}:
            name = _NAMES.get(words[1], _CONTROL)
            longest[name] = max(longest[name], micro / 1000)
    await _ask(driver, "SLOWLOG", "RESET")
    return longest


async def _ask(driver: RedisDriver, *words: Any) -> Any:
    return await driver._session.nodes("load").call(0, *words)
