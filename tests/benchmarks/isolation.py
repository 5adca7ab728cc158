"""What isolation costs a message, what threads and processes gain, and how many scripts may sleep in one runtime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from tasuki.contracts.handler import Handler
from tasuki.handlers.isolated import IsolatedPythonHandler, PythonTarget
from tasuki.handlers.lua import LuaHandler, LuaSource, ScriptLimits
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler
from tasuki.handlers.lua.remote.shared import ThreadedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tasuki.message import Message
from tasuki.testing.context import RecordingContext
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import BODY, rss_mib, run

_COMPUTE = "local x = 0 for i = 1, body.n or 0 do x = x + i % 7 end return true"
_STEPS = 20_000_000
"""Turns of a loop: most of a second."""
_MESSAGES = 3_000
_SLEEPERS = 2_000


def measure(driver: str) -> Iterator[Figure]:
    """By the clock."""
    noop = _script("return true")
    makers: dict[str, Callable[[], Handler]] = {
        "Lua": lambda: LuaHandler(noop),
        "Lua in its own process": lambda: IsolatedLuaHandler(noop, processes=1),
        "Python in its own process": _python,
    }
    for name, make in makers.items():
        for at_once in (1, 10):
            yield Figure(f"{name}, {at_once} at a time", run(_per_message(make(), at_once)) * 1e6, "us by the clock")
    computing: dict[str, Callable[[int], Handler]] = {
        "threads": lambda count: ThreadedLuaHandler(_script(_COMPUTE), threads=count),
        "processes": lambda count: IsolatedLuaHandler(_script(_COMPUTE), processes=count),
    }
    for name, make_some in computing.items():
        one, two = (run(_computing(make_some(count))) for count in (1, 2))
        yield Figure(f"two computing scripts, two {name} beside one", one / two, "times as fast")
    took, grown = run(_asleep())
    yield Figure(f"{_SLEEPERS:,} scripts asleep for 500 ms", took * 1e3, "ms")
    yield Figure(f"{_SLEEPERS:,} scripts asleep, memory", grown, "MiB")


def handle(body: Any) -> None:
    """Do nothing."""


def _script(code: str) -> LuaScript:
    source = LuaSource(f"return function(body) {code} end", "script.lua")
    return LuaScript("app:script", source, modules=("time",), limits=ScriptLimits(time=60.0))


def _python() -> Handler:
    target = PythonTarget("app:f", import_path="tests.benchmarks.isolation:handle", threads=4)
    return IsolatedPythonHandler(target, time=None, processes=1)


def _context() -> RecordingContext:
    return RecordingContext(Message("m-1", b"{}", {}))


async def _per_message(handler: Handler, at_once: int) -> float:
    """Seconds a message."""
    context = _context()

    async def some(count: int) -> None:
        for _ in range(count):
            await handler.handle(BODY, context)

    await handler.start()
    await some(100)
    started = time.perf_counter()
    await asyncio.gather(*(some(_MESSAGES // at_once) for _ in range(at_once)))
    took = time.perf_counter() - started
    await handler.stop()
    return took / _MESSAGES


async def _computing(handler: Handler) -> float:
    """Seconds for two messages that only compute, at once; what has to start has started."""
    context = _context()
    await handler.start()
    await asyncio.gather(*(handler.handle({"n": 1}, context) for _ in range(8)))
    started = time.perf_counter()
    await asyncio.gather(*(handler.handle({"n": _STEPS}, context) for _ in range(2)))
    took = time.perf_counter() - started
    await handler.stop()
    return took


async def _asleep() -> tuple[float, float]:
    """Seconds and MiB for scripts that sleep half a second each, in one runtime."""
    handler, before = LuaHandler(_script("time.sleep('500ms') return true")), rss_mib()
    context = _context()
    await handler.start()
    started = time.perf_counter()
    tasks = [asyncio.create_task(handler.handle({}, context)) for _ in range(_SLEEPERS)]
    await asyncio.sleep(0.25)
    grown = rss_mib() - before
    await asyncio.gather(*tasks)
    return time.perf_counter() - started, grown
