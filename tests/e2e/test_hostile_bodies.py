"""Hostile bodies through the real ways: a shared Lua handler, a Python handler, the desk and its API.

The measures: processor time, memory, and the longest turn of the event loop, which is how late another consumer is.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from asyncio.events import Handle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tasuki import App
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.contracts.driver import Outgoing
from tests.support.hostile_bodies import ROWS, Hostile
from tests.support.least import Least

# What a body costs is measured, and not what a tracer costs.
pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.no_cover]

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: shown, kind: queue.queue, driver: driver}
  - {name: lua, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: python, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: lua_function, kind: function.lua, source: "return function(body) end", limits: {time: 3s}}
  - {name: python_function, kind: function.python, source: file://handlers.py, method: handle}
  - {name: lua_worker, kind: queue.consumer, queue: lua, func: lua_function, concurrency: 8,
     lifecycle: {auto_start: true}}
  - {name: python_worker, kind: queue.consumer, queue: python, func: python_function, concurrency: 8,
     lifecycle: {auto_start: true}}
"""
HANDLERS = """\
async def handle(body):
    pass
"""

PATHS = (
    "/queues/app:shown",
    "/messages/app:shown/{id}",
    "/api/v1/queues/app:shown/messages",
    "/api/v1/messages/app:shown/{id}",
    "/dead/app:dead",
    "/dead/app:dead/export",
    "/messages/app:shown/{id}/json",
    "/messages/app:shown/{id}/test",
)
MOST_LATE = 0.2
"""Seconds for which the thread of the event loop computes at a time for a body of a handler."""
MOST_HANDLED, MOST_SHOWN = 2.5, 2.5
"""Seconds of processor time: for a body at one handler, and for all pages that show it. On a busy machine each second
of them does half of the work."""
MOST_MEMORY = 128 * 2**20
"""Bytes that the process grows by for one body."""


class Turns:
    """The longest turn of an event loop in this thread, in seconds of its processor time."""

    longest = 0.0


@contextmanager
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    found, run = Turns(), Handle._run

    def timed(handle: Handle) -> None:
        began = time.thread_time()
        try:
            run(handle)
        finally:
            found.longest = max(found.longest, time.thread_time() - began)

    with monkeypatch.context() as patch:
        patch.setattr(Handle, "_run", timed)
        yield found


def peak() -> int:
    """Bytes of memory that this process has had at most since ``forget_peak``."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def forget_peak() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    (tmp_path / "project.yaml").write_text(PROJECT)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    async with App.load(tmp_path).worker() as app:
        await pages_of(app, "nothing")  # imports the desk
        yield app


async def put(app: App, queue: str, row: Hostile, body: bytes, *, id: str, times: int = 1) -> None:
    """Straight into the broker, as another program would do it; the first one has this id."""
    live = app._runtime.queue(f"app:{queue}")
    for number in range(times):
        message = Outgoing(f"{id}{number or ''}", body, {"content_type": row.type, **row.headers})
        assert not any(await live.driver.publish(live.spec.name, [message]) or ())


async def pages_of(app: App, id: str) -> list[int]:
    """The codes of all answers that show a message, or a list with it."""
    transport = httpx.ASGITransport(app.desk(is_open=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return [(await client.get(path.format(id=id))).status_code for path in PATHS]


Work = Callable[[str], Awaitable[None]]
"""Does something with messages whose ids begin with this text."""


async def costs_at_most(work: Work, monkeypatch: pytest.MonkeyPatch, *, seconds: float, late: float) -> None:
    """It may take this many seconds of processor time, and this many at a time in the thread of the event loop."""
    least, runs = Least(seconds=seconds, late=late), 0
    while least.is_open:
        runs += 1
        forget_peak()
        before, began = peak(), time.process_time()
        with turns(monkeypatch) as found:
            await work(f"run{runs}-")
        least.add(seconds=time.process_time() - began, late=found.longest)
        assert peak() - before <= MOST_MEMORY
    least.check()


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_a_hostile_body_costs_little_and_delays_no_other_consumer(
    row: Hostile, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = row.make()
    dead = app._runtime.queue("app:dead")
    for queue, reason in zip(("lua", "python"), row.reasons, strict=True):
        ids: list[str] = []

        async def handle(id: str, queue: str = queue, ids: list[str] = ids) -> None:
            ids.append(f"{queue}-{id}")
            await put(app, queue, row, body, id=ids[-1])
            await asyncio.wait_for(wait_until_empty(lambda: app._runtime.assembly), 60)

        await costs_at_most(handle, monkeypatch, seconds=MOST_HANDLED, late=MOST_LATE)
        found = [letter.headers["x_dead_letter_reason"] for letter in await dead.peek() if letter.id in ids]
        assert found == [reason] * len(ids) * bool(reason)
    await put(app, "shown", row, body, id="shown")

    async def show(_: str) -> None:
        assert set(await pages_of(app, "shown")) <= {200, 413, 503}

    await costs_at_most(show, monkeypatch, seconds=MOST_SHOWN, late=MOST_SHOWN)


async def test_many_bombs_at_once_cost_no_more_than_one(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight at each handler, and a page of fifty at the desk."""
    (row,) = (row for row in ROWS if row.name == "16 MiB of objects in 16 KB")
    body = row.make()
    assert len(body) < 20 * 2**10
    runs = []

    async def handle(id: str) -> None:
        runs.append(id)
        await put(app, "lua", row, body, id=f"lua-{id}", times=8)
        await put(app, "python", row, body, id=f"python-{id}", times=8)
        await asyncio.wait_for(wait_until_empty(lambda: app._runtime.assembly), 60)

    await costs_at_most(handle, monkeypatch, seconds=MOST_HANDLED, late=MOST_LATE)
    assert (await app._runtime.queue("app:dead").depth()).ready == 16 * len(runs)
    await put(app, "shown", row, body, id="shown", times=50)

    async def show(_: str) -> None:
        assert set(await pages_of(app, "shown")) == {200, 413}

    await costs_at_most(show, monkeypatch, seconds=MOST_SHOWN, late=MOST_SHOWN)


def test_there_are_at_least_sixty() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60
