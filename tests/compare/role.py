"""What each system does in its own environment: publish, or become the worker. The standard library alone.

``python -m tests.compare.peers.NAME publish WAY SECONDS``, ``fill COUNT SECONDS ACTION``, ``paced RATE COUNT``,
``send ACTION``, ``setup``, or ``work``. A publisher prints one JSON object. The environment
names the broker, the queue and the folder.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import resource
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

URL, QUEUE = os.environ.get("COMPARE_URL", ""), os.environ.get("COMPARE_QUEUE", "queue")
BROKER, IS_BEST = os.environ.get("COMPARE_BROKER", ""), os.environ.get("COMPARE_BEST") == "1"
FOLDER = Path(os.environ.get("COMPARE_FOLDER", "."))

Body = dict[str, Any]
BODY: Body = {
    "id": "0190f3a2-7c1e",
    "action": "resize",
    "width": 1920,
    "height": 1080,
    "at": 0.0,
    "keep": True,
    "tags": ["holiday", "sea", "2026"],
    "source": "/var/data/incoming/photos/2026/11/DSC_001234.jpg",
}
"""Eight keys, about 190 bytes as JSON. ``at`` is when it was published, where that is measured."""
HOLD = 60.0
"""Seconds for which the handler of a held message sleeps."""
BATCH = 200

SLOTS = 8192
SLOT = struct.Struct("=qdd")
"""Of each worker process: handled messages, and when the first and the last one was (monotonic seconds)."""


class Ways(NamedTuple):
    """How a system publishes one message, and many at once if it can."""

    one: Callable[[Body], Any]
    many: Callable[[Sequence[Body]], Any] | None = None


class Peer(NamedTuple):
    """How a module of ``peers`` runs its system."""

    worker: Callable[[], Sequence[str]]
    """A program of its environment, and arguments."""
    sync: Callable[[], AbstractContextManager[Ways]] | None = None
    awaited: Callable[[], AbstractAsyncContextManager[Ways]] | None = None
    setup: Callable[[], Awaitable[None]] | None = None


class _Tally:
    """Counts in shared memory: a message costs no system call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        with (FOLDER / "tally").open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SLOTS * SLOT.size)
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._offset = os.getpid() % SLOTS * SLOT.size
        self._count, self._first, _ = SLOT.unpack_from(self._memory, self._offset)

    def add(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._count += 1
            self._first = self._first or now
            SLOT.pack_into(self._memory, self._offset, self._count, self._first, now)


_tally: _Tally | None = None


def handle(body: Body) -> bool:
    """The work of each handler: count. True if it shall sleep for ``HOLD`` seconds. Raises if the message says so."""
    global _tally
    if _tally is None:
        _tally = _Tally()
    _tally.add()
    if body["at"]:
        _append("latencies", f"{time.monotonic() - body['at']}\n")
    if body["action"] == "fail":
        raise ValueError("as it was asked to")
    if body["action"] == "hold":
        _append("held", f"{time.monotonic()}\n")
        return True
    return False


def _append(name: str, line: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(line)


def plainly(one: Callable[[Body], Any], many: Callable[[Sequence[Body]], Any] | None = None) -> Any:
    """The sync ways of a system that needs no opening and closing."""

    @contextmanager
    def opened() -> Iterator[Ways]:
        yield Ways(one, many)

    return opened


def main(peer: Peer) -> None:
    """Do what the command line says."""
    what, *arguments = sys.argv[1:]
    if what == "work":
        program, *options = peer.worker()
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.execvp(program, [program, *options])
    elif what == "setup":
        if peer.setup is not None:
            _run(peer.setup())
    elif what == "publish" and arguments[0] == "sync":
        if peer.sync is None:
            print("null")
        else:
            with peer.sync() as ways:
                _publish_sync(ways, float(arguments[1]))
    elif peer.awaited is not None:
        _run(_publish(peer.awaited, what, arguments))
    elif what == "publish" and arguments[0] != "bulk":
        print("null")  # there is nothing to await
    else:
        _run(_publish(lambda: _wrapped(peer), what, arguments))


@asynccontextmanager
async def _wrapped(peer: Peer) -> AsyncIterator[Ways]:
    assert peer.sync is not None
    with peer.sync() as ways:
        yield ways


def _run(work: Any) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)


class _Meter:
    def __init__(self) -> None:
        self._wall, self._cpu, self.count = time.perf_counter(), _cpu(), 0

    def is_before(self, seconds: float) -> bool:
        return time.perf_counter() - self._wall < seconds

    def report(self) -> None:
        wall, cpu = time.perf_counter() - self._wall, _cpu()
        print(json.dumps({"count": self.count, "wall": wall, "cpu": cpu - self._cpu}))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _publish_sync(ways: Ways, seconds: float) -> None:
    for _ in range(20):
        ways.one(BODY)
    meter = _Meter()
    while meter.is_before(seconds):
        ways.one(BODY)
        meter.count += 1
    meter.report()


async def _publish(opened: Callable[[], AbstractAsyncContextManager[Ways]], what: str, arguments: list[str]) -> None:
    async with opened() as ways:
        if what == "send":
            await _done(ways.one({**BODY, "action": arguments[0]}))
        elif what == "paced":
            await _paced(ways, float(arguments[0]), int(arguments[1]))
        elif what == "fill":
            await _fill(ways, int(arguments[0]), float(arguments[1]), {**BODY, "action": arguments[2]})
        else:
            await _measured(ways, arguments[0], float(arguments[1]))


async def _done(result: Any) -> None:
    if asyncio.iscoroutine(result) or isinstance(result, asyncio.Future):
        await result


async def _measured(ways: Ways, way: str, seconds: float) -> None:
    if way == "bulk" and ways.many is None:
        print("null")
        return
    for _ in range(20):
        await _done(ways.one(BODY))
    meter = _Meter()

    async def caller() -> None:
        while meter.is_before(seconds):
            await ways.one(BODY)
            meter.count += 1

    if way == "bulk":
        assert ways.many is not None
        while meter.is_before(seconds) and meter.count < 100_000:
            await _done(ways.many([BODY] * BATCH))
            meter.count += BATCH
    else:
        await asyncio.gather(*(caller() for _ in range(1 if way == "one" else 100)))
    meter.report()


async def _fill(ways: Ways, count: int, seconds: float, body: Body) -> None:
    """As fast as it can: this many messages, or for this many seconds."""
    meter = _Meter()
    while meter.count < count and meter.is_before(seconds):
        if ways.many is not None:
            await _done(ways.many([body] * BATCH))
            meter.count += BATCH
        else:
            results = [ways.one(body) for _ in range(100)]
            if asyncio.iscoroutine(results[0]):
                await asyncio.gather(*results)
            meter.count += 100
    meter.report()


async def _paced(ways: Ways, rate: float, count: int) -> None:
    begun = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        await _done(ways.one({**BODY, "at": time.monotonic()}))
    print(json.dumps({"count": count}))
