"""What a storm of failures costs a message, with and without attempt records: each fails once, and waits."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from typing import Any
from unittest.mock import patch

from tasuki import App
from tasuki.consumers.definition import Definition
from tasuki.consumers.settling.attempts import NoAttempts, attempts_for
from tasuki.observe import log
from tests.benchmarks.load import BATCH, BODY
from tests.support.brokers.redis import Redis

_LUA = """
local function charge(body)
  error("refused after " .. body.width .. " tries")
end
return function(body) charge(body) end
"""


def _charge(amount: int) -> None:
    raise ConnectionError(f"connection to 10.0.0.7:5432 refused after {amount} tries")


async def _fails(body: dict[str, Any]) -> None:
    _charge(body["width"])


def _app(url: str, root: str, kind: str) -> App:
    app = App(url, root=root)
    queue = app.queue("load", retry={"initial_delay": "1h", "max_delay": "1h"})
    if kind == "Python":
        queue.consumer(concurrency=10, prefetch=500)(_fails)
    else:
        isolation = "process" if "process" in kind else "shared"
        function = app.entry("fails", "function.lua", {"source": _LUA, "isolation": isolation})
        load = {"concurrency": 10, "prefetch": 500, "lifecycle": {"auto_start": True}}
        app.entry("load.consumer", "queue.consumer", {"queue": queue.id, "func": function, **load})
    return app


async def _storm(url: str, messages: int, kind: str = "Python") -> tuple[float, float]:
    """Microseconds of time and of CPU a message, from the start of the consumer to the last nack that is taken.

    Without the processes in which their own handlers run.
    """
    with tempfile.TemporaryDirectory() as folder:
        app = _app(url, folder, kind)
        async with app:
            for _ in range(0, messages, BATCH):
                await app.queue("load").publish_many([BODY] * BATCH)
            started, cpu = time.perf_counter(), time.process_time()
            await app.start()
            (consumer,) = app._runtime.live().consumers.values()
            while consumer.metrics.nacked < messages or consumer.now.held:
                await asyncio.sleep(0.002)
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return wall / messages * 1e6, cpu / messages * 1e6


def report(messages: int = 5000, repeats: int = 5) -> None:
    """Print one line a broker and kind of handler."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, Redis() as redis:
        log.configure("WARNING", "json", nowhere)
        for name, url in (("memory", "memory://"), ("sqlite", "sqlite://"), ("redis", redis.url)):
            for kind in ("Python", "Lua", "Lua, process"):
                on, off = _pairs(url, messages, kind, repeats)
                print(
                    f"  {name:8} {kind:12} {on[0]:6.1f} us, {on[1]:6.1f} us CPU a failed message; "
                    f"without records {off[0]:6.1f}, {off[1]:6.1f} ({on[1] / off[1] - 1:+.0%})"
                )


def _pairs(url: str, messages: int, kind: str, repeats: int) -> list[tuple[float, float]]:
    """The least time and CPU with records, and without; measured in turns, as the machine has other things to do."""
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(repeats):
        for runs, make in zip(found, (attempts_for, _no_attempts), strict=True):
            with patch("tasuki.consumers.settling.settler.attempts_for", make):
                runs.append(asyncio.run(_storm(url, messages, kind)))
    return [(min(wall for wall, _ in runs), min(cpu for _, cpu in runs)) for runs in found]


def _no_attempts(consumer: Definition) -> NoAttempts:
    return NoAttempts()
