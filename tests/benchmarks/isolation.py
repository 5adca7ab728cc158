"""What isolation costs a message, what threads and processes gain, and how many scripts may sleep in one runtime."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tasuki.contracts.handler import Handler
from tasuki.handlers.isolated import IsolatedPythonHandler, PythonTarget
from tasuki.handlers.lua import LuaHandler, LuaLimits, LuaSource
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler
from tasuki.handlers.lua.remote.shared import ThreadedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tasuki.message import Message
from tasuki.testing.context import RecordingContext
from tests.benchmarks.load import BODY, rss_mib

COMPUTE = "local x = 0 for i = 1, body.n or 0 do x = x + i % 7 end return true"
SLEEP = "time.sleep('500ms') return true"
STEPS = 20_000_000
"""Turns of a loop: most of a second."""
SLEEPERS = 2_000


def _script(code: str) -> LuaScript:
    source = LuaSource(f"return function(body) {code} end", "script.lua")
    return LuaScript("app:script", source, modules=("time",), limits=LuaLimits(time=60.0))


def _shared(script: LuaScript) -> Handler:
    return LuaHandler(script)


def _context() -> RecordingContext:
    return RecordingContext(Message("m-1", b"{}", {}))


def _python() -> Handler:
    target = PythonTarget("app:f", import_path="tests.benchmarks.isolation:handle", threads=4)
    return IsolatedPythonHandler(target, time=None, processes=1)


def handle(body: Any) -> None:
    """The Python function that does nothing."""


async def _per_message(handler: Handler, messages: int, at_once: int) -> float:
    """Seconds a message."""
    context = _context()

    async def some(count: int) -> None:
        for _ in range(count):
            await handler.handle(BODY, context)

    await handler.start()
    await some(100)
    started = time.perf_counter()
    await asyncio.gather(*(some(messages // at_once) for _ in range(at_once)))
    took = time.perf_counter() - started
    await handler.stop()
    return took / messages


async def _computing(handler: Handler, messages: int) -> float:
    """Seconds for messages that only compute, all at once; what has to start has started."""
    context = _context()
    await handler.start()
    await asyncio.gather(*(handler.handle({"n": 1}, context) for _ in range(8)))
    started = time.perf_counter()
    await asyncio.gather(*(handler.handle({"n": STEPS}, context) for _ in range(messages)))
    took = time.perf_counter() - started
    await handler.stop()
    return took


async def _asleep() -> tuple[float, float]:
    """Seconds and MiB for SLEEPERS scripts that sleep half a second each, in one runtime."""
    handler, before = _shared(_script(SLEEP)), rss_mib()
    context = _context()
    await handler.start()
    tasks = [asyncio.create_task(handler.handle({}, context)) for _ in range(SLEEPERS)]
    started = time.perf_counter()
    await asyncio.sleep(0.25)
    grown = rss_mib() - before
    await asyncio.gather(*tasks)
    return time.perf_counter() - started, grown


async def _measured(make: Callable[[], Handler], messages: int, at_once: int) -> float:
    return await _per_message(make(), messages, at_once)


async def _computed(make: Callable[[int], Handler], count: int) -> Any:
    return await _computing(make(count), 2)


def _best(measure: Callable[[], Any], repeats: int = 3) -> Any:
    return min(asyncio.run(measure()) for _ in range(repeats))


def report(messages: int = 5_000) -> None:
    """Print one line a case."""
    noop = _script("return true")
    for at_once in (1, 10):
        shared = _best(partial(_measured, partial(_shared, noop), messages, at_once)) * 1e6
        lua = _best(partial(_measured, partial(IsolatedLuaHandler, noop, processes=1), messages, at_once)) * 1e6
        python = _best(partial(_measured, _python, messages, at_once))
        verdict = "met" if lua - shared <= 200 else "MISSED"
        how = "one by one" if at_once == 1 else f"{at_once} at a time"
        print(f"  Lua in its own process, {how:14} {lua - shared:6.0f} us over shared   (goal 200 us: {verdict})")
        print(f"  Python in its own process, {how:11} {python * 1e6:6.0f} us")
    makers: tuple[tuple[str, Callable[[int], Handler]], ...] = (
        ("threads", lambda count: ThreadedLuaHandler(_script(COMPUTE), threads=count)),
        ("processes", lambda count: IsolatedLuaHandler(_script(COMPUTE), processes=count)),
    )
    for name, make in makers:
        one, two = (_best(partial(_computed, make, count), 5) for count in (1, 2))
        verdict = "met" if one / two >= 1.7 else "MISSED"
        print(f"  computing Lua, two {name:21} {one / two:6.2f} x as fast as one   (goal 1.7 x: {verdict})")
    runs = [asyncio.run(_asleep()) for _ in range(3)]
    took, grown = min(runs)[0], runs[0][1]  # the first has to take the memory that the others find free
    print(
        f"  {SLEEPERS:,} scripts asleep for 500 ms at once      {took * 1000:6.0f} ms, {grown:.0f} MiB in one runtime"
    )
    print(f"  (load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
