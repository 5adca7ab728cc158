"""What a failed message costs, with attempt records and without: each fails once, and waits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tasuki import App
from tasuki.consumers.definition import Definition
from tasuki.consumers.settling.attempts import NoAttempts, attempts_for
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import drain, fill, run, url

_MESSAGES = 3_000
_LUA = """
local function charge(body)
  error("refused after " .. body.width .. " tries")
end
return function(body) charge(body) end
"""


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver."""
    for kind in ("Python", "Lua"):
        for name, make in (("with records", attempts_for), ("without records", _no_attempts)):
            with (
                tempfile.TemporaryDirectory() as folder,
                patch("tasuki.consumers.settling.settler.attempts_for", make),
            ):
                app = _app(url(driver, Path(folder)), Path(folder), kind)
                yield Figure(f"a failed message, {kind}, {name}", run(_storm(app)) * 1e6, "us")


def _app(url: str, root: Path, kind: str) -> App:
    app = App(url, root=root)
    queue = app.queue("load", retry={"initial_delay": "1h", "max_delay": "1h"})
    if kind == "Python":
        queue.consumer(concurrency=10, prefetch=500)(_fails)
    else:
        function = app.entry("fails", "function.lua", source=_LUA)
        load: dict[str, Any] = {"concurrency": 10, "prefetch": 500, "lifecycle": {"auto_start": True}}
        app.entry("load.consumer", "queue.consumer", queue=queue.id, func=function, **load)
    return app


async def _storm(app: App) -> float:
    """Seconds of processor time a message, from the start of the consumer to the last nack that is taken."""
    async with app:
        await app.queue("load").purge()
        await fill(app, "load", _MESSAGES)
        return (await drain(app, _MESSAGES)).here


async def _fails(body: dict[str, Any]) -> None:
    _charge(body["width"])


def _charge(amount: int) -> None:
    raise ConnectionError(f"connection to 10.0.0.7:5432 refused after {amount} tries")


def _no_attempts(consumer: Definition) -> NoAttempts:
    return NoAttempts()
