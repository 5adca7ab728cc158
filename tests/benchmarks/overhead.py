"""CPU a message of the framework itself: memory driver, Python and Lua no-op handlers; and SQLite end to end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tasuki import App
from tests.benchmarks.load import Result, bare_loop, run

LUA = "local function handler(body)\n  return true\nend\nreturn handler\n"


def _app(url: str, root: Path, *, lua: bool) -> App:
    app = App(url, root=root)
    queue = app.queue("load")
    options: dict[str, Any] = {"concurrency": 10, "prefetch": 500}
    if lua:
        function = app.entry("noop", "function.lua", source=LUA)
        app.entry(
            "consumer", "queue.consumer", queue=queue.id, func=function, lifecycle={"auto_start": True}, **options
        )
    else:

        @queue.consumer(**options)
        async def noop(body: dict[str, Any]) -> None:
            return None

    return app


def best(make: Callable[[Path], App], messages: int, repeats: int, *, together: bool = False) -> Result:
    """The cheapest of some runs, each in a fresh folder: what disturbs a run only ever makes it dearer."""
    results = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            results.append(asyncio.run(run(make(Path(folder)), "load", messages, together=together)))
    return min(results, key=lambda result: result.cpu_us)


def report(messages: int = 100_000, repeats: int = 5) -> None:
    """Print one line a case."""
    bare = min(asyncio.run(bare_loop(messages)) for _ in range(repeats))
    print(f"  bare loop (encode, pop, decode, await, settle)   {bare:6.2f} us CPU")
    cases = (
        ("memory, async Python no-op", "memory://", False, 5.0),
        ("memory, Lua no-op, body as a table", "memory://", True, 12.0),
    )
    for name, url, lua, goal in cases:
        result = best(partial(_app, url, lua=lua), messages, repeats)
        print(
            f"  {name:48} {result.cpu_us:6.2f} us CPU   "
            f"(publish {result.publish_cpu_us:.2f}, {result.per_second:,.0f}/s; "
            f"{result.cpu_us / bare:.1f} x bare; goal {goal:g} us: {'met' if result.cpu_us <= goal else 'MISSED'})"
        )
    for together in (False, True):
        result = best(lambda root: _app("sqlite://", root, lua=False), messages, repeats, together=together)
        how = "published while consumed" if together else "published, then consumed"
        print(
            f"  SQLite FULL end to end, {how:24} {result.cpu_us:6.2f} us CPU   ({result.per_second:,.0f} messages/s; "
            f"goal 40,000/s: {'met' if result.per_second >= 40_000 else 'MISSED'})"
        )
