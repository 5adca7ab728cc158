"""Clauses 6, 11, 17, 20, 29 and 30: what the history of three processes must say when they are killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, NamedTuple

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError
from tasuki.testing.conformance.clock import ShiftedClock, Taken, check_windows
from tasuki.testing.conformance.rig import case
from tasuki.testing.conformance.stores.rig import NAME, StoreRig, StoreSuite

_START_TIMEOUT = 60.0


class Step(NamedTuple):
    """A line of a history: the verb began and ended at these moments of the machine's monotonic clock."""

    what: str
    began: float
    ended: float
    value: Any
    child: str


class Log:
    """What one child has done. A line is written at once, so that a kill loses none that is complete."""

    def __init__(self, place: Path, child: str) -> None:
        self.child = child
        self._over = place / "over"
        self._file = os.open(place / f"{child}.history", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @property
    def is_over(self) -> bool:
        """The parent wants the job to end."""
        return self._over.exists()

    def write(self, what: str, began: float, value: Any = None) -> None:
        """Note a step that ends now."""
        step = Step(what, began, time.monotonic(), value, self.child)
        os.write(self._file, json.dumps(step).encode() + b"\n")


Job = Callable[[Store, Log, Any], Awaitable[None]]
"""Works until the log is over, or forever. A function of a module, so that a child finds it."""


@dataclass(frozen=True)
class _Duty:
    make: Callable[[Path, ShiftedClock], Driver]
    place: Path
    child: str
    job: Job
    given: Any


class Crew:
    """Child processes, each with a job, and the history of all."""

    def __init__(self, rig: StoreRig) -> None:
        self._rig = rig
        self._context = _context()
        self._jobs: dict[str, tuple[Job, Any]] = {}
        self._running: dict[str, multiprocessing.process.BaseProcess] = {}
        self._dice = random.Random(0)  # noqa: S311 - no secret
        self.kills = 0

    async def start(self, job: Job, given: Any = None) -> str:
        """Start a child, and wait until it begins; returns its name."""
        child = f"child-{len(self._jobs)}"
        self._jobs[child] = job, given
        ours, theirs = self._context.Pipe()
        duty = _Duty(self._rig.suite.maker(), self._rig.place, child, job, given)
        process = self._context.Process(target=_work, args=(duty, theirs), daemon=True)
        await asyncio.to_thread(process.start)
        theirs.close()
        self._running[child] = process
        try:
            assert await asyncio.to_thread(ours.poll, _START_TIMEOUT), f"{child} has not started"
            assert ours.recv() == "ready"
        except EOFError:
            raise AssertionError(f"{child} ended at its start, with {process.exitcode}") from None
        finally:
            ours.close()
        return child

    async def kill(self, child: str) -> None:
        """SIGKILL, and wait for the end of the process."""
        process = self._running.pop(child)
        process.kill()
        await asyncio.to_thread(process.join)
        assert process.exitcode == -signal.SIGKILL, f"{child} ended by itself, with {process.exitcode}"
        self.kills += 1

    async def kill_one(self) -> None:
        """Kill any child, and start another with its job."""
        child = self._dice.choice(sorted(self._running))
        await self.kill(child)
        await self.start(*self._jobs[child])

    async def kill_all(self) -> None:
        """Kill all children at once."""
        for process in self._running.values():
            process.kill()
        for child in list(self._running):
            await self.kill(child)

    def go_on(self, child: str) -> None:
        """SIGCONT, for a child that has stopped itself."""
        pid = self._running[child].pid
        assert pid is not None
        os.kill(pid, signal.SIGCONT)

    async def end(self) -> None:
        """Let the children end by themselves."""
        (self._rig.place / "over").touch()
        for child, process in list(self._running.items()):
            await asyncio.to_thread(process.join, self._rig.suite.case_timeout)
            assert process.exitcode == 0, f"{child} ended with {process.exitcode}"
            del self._running[child]

    def stop(self) -> None:
        """Leave none behind."""
        for process in self._running.values():
            process.kill()
            process.join()

    def history(self, what: str = "") -> list[Step]:
        """What all children have done, in the order in which it ended; ``what``: steps of one kind."""
        files = [file.read_text() for file in self._rig.place.glob("*.history")]
        lines = [line for text in files for line in text.splitlines(keepends=True)]
        # A line without its end was cut off by a kill.
        steps = [Step(*json.loads(line)) for line in lines if line.endswith("\n")]
        return sorted((step for step in steps if what in {"", step.what}), key=lambda step: step.ended)

    async def until(self, what: str, number: int) -> None:
        """Wait until there are this many steps of a kind; the case's own timeout is the bound."""
        while len(self.history(what)) < number:
            for child, process in self._running.items():
                assert process.exitcode is None, f"{child} ended with {process.exitcode}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def crew_of(rig: StoreRig) -> AsyncIterator[Crew]:
    """A crew for the time of a block; none of its processes outlives it."""
    crew = Crew(rig)
    try:
        yield crew
    finally:
        await asyncio.to_thread(crew.stop)


def _context() -> ForkServerContext | SpawnContext:
    """A fork of this process would share its locks and threads; a server that forks starts children sooner."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _work(duty: _Duty, pipe: Any) -> None:
    asyncio.run(_do(duty, pipe))


async def _do(duty: _Duty, pipe: Any) -> None:
    driver = duty.make(duty.place, ShiftedClock())
    await driver.open()
    store = driver.store(NAME)
    await store.open()
    pipe.send("ready")
    pipe.close()
    await duty.job(store, Log(duty.place, duty.child), duty.given)
    await store.close()
    await driver.close()


_WORKERS = 3

_RATE, _BURST = 50.0, 5

_PLACES = 2

_KILLS = 4


class Killing(StoreSuite):
    """Three processes at one store; each case kills some."""

    @case("multi_process")
    async def test_06_no_rise_is_lost_among_processes_that_are_killed(self, rig: StoreRig) -> None:
        await rig.store.put("counter", b"0")
        async with crew_of(rig) as crew:
            for _ in range(_WORKERS):
                await crew.start(_rise)
            for kill in range(1, _KILLS + 1):
                await crew.until("rose", rig.suite.rounds * _WORKERS * kill // (_KILLS + 1))
                await crew.kill_one()
            await crew.until("rose", rig.suite.rounds * _WORKERS)
            await crew.end()
            steps = crew.history("rose")
        rises = sorted((step.value for step in steps), key=lambda value: value[0])
        twice = {count for count, times in Counter(count for count, _ in rises).items() if times > 1}
        assert not twice, f"two processes rose to {sorted(twice)[:5]}"
        assert all(before[1] < after[1] for before, after in pairwise(rises)), "versions do not rise with the counter"
        value = await rig.value("counter")
        assert value is not None
        # A killed process may have risen once more without writing it down.
        assert len(rises) <= int(value) <= len(rises) + crew.kills

    @case("multi_process")
    async def test_11_every_process_sees_a_put_that_has_returned(self, rig: StoreRig) -> None:
        await rig.store.put("key", b"0")
        async with crew_of(rig) as crew:
            await crew.start(_read, "get")
            await crew.start(_read, "list")
            await crew.start(_write)
            await crew.until("put", rig.suite.rounds)
            await crew.until("read", rig.suite.rounds)
            await crew.end()
            puts, reads = crew.history("put"), crew.history("read")
        newest = 0
        for step in sorted([*puts, *reads], key=lambda step: step.ended if step.what == "put" else step.began):
            if step.what == "put":
                newest = step.value
            else:
                assert step.value >= newest, f"{step.value} was read after the put of {newest} had returned"

    @case("multi_process")
    async def test_17_no_window_has_more_among_processes_that_are_killed(self, rig: StoreRig) -> None:
        async with crew_of(rig) as crew:
            for _ in range(_WORKERS):
                await crew.start(_take)
            for kill in range(_KILLS):
                await crew.until("took", 20 * (kill + 1))
                await crew.kill_one()
            await crew.until("took", 20 * (_KILLS + 2))
            await crew.end()
            steps = crew.history("took")
        assert len({step.child for step in steps}) > 1
        check_windows([Taken(step.began, step.ended, step.value) for step in steps], _RATE, _BURST)

    @case("multi_process")
    async def test_20_never_more_holders_than_places_among_processes_that_are_killed(self, rig: StoreRig) -> None:
        lease = max(0.5, rig.store.facts.shortest_lease)
        async with crew_of(rig) as crew:
            for _ in range(_WORKERS):
                await crew.start(_hold, lease)
            for kill in range(1, _KILLS + 1):
                await crew.until("held", 10 * kill)
                await crew.kill_one()
            asleep = await crew.start(_hold_asleep, lease)
            await crew.until("asleep", 1)
            paused = time.monotonic()
            while not any(step.began > paused + lease * 1.5 for step in crew.history("held")):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
            crew.go_on(asleep)
            await crew.until("held", 10 * (_KILLS + 2))
            await crew.end()
            steps = crew.history()
        most = most_at_once(steps, lease)
        assert most <= _PLACES, f"{most} holders of {_PLACES} places"
        assert len({step.child for step in steps if step.what == "held"}) >= _WORKERS

    @case("durable", "multi_process")
    async def test_29_confirmed_entries_survive_a_kill_of_all_processes(self, rig: StoreRig) -> None:
        async with crew_of(rig) as crew:
            for number in (1, 2):
                for _ in range(_WORKERS):
                    await crew.start(_store)
                await crew.until("stored", rig.suite.rounds * number)
                await crew.kill_all()
            stored, deleted = crew.history("stored"), crew.history("deleted")
            begun = {step.value[0] for step in crew.history("deleting")}
        await rig.restart()
        there = {entry.key: (entry.version, entry.value) for entry in await rig.all(limit=1000)}
        gone = {step.value for step in deleted}
        assert not gone & there.keys(), "a confirmed delete was undone"
        for step in stored:
            key, version = step.value
            if key not in begun:
                assert key in there, f"key {key!r}, a confirmed put, is gone"
                assert there[key] == (version, _whole(key)), f"key {key!r} has changed"
        assert all(value == _whole(key) for key, (_, value) in there.items()), "an entry is torn"

    @case("multi_process")
    async def test_30_a_killed_process_leaves_no_half_write_and_no_lock(self, rig: StoreRig) -> None:
        lease = max(0.5, rig.store.facts.shortest_lease)
        async with crew_of(rig) as crew:
            for _ in range(_WORKERS):
                await crew.start(_everything, lease)
            for kill in range(1, _KILLS + 2):
                await crew.until("done", 20 * kill)
                await crew.kill_one()
                async with asyncio.timeout(rig.suite.patience):  # no lock
                    found = await rig.store.get("shared")
                    await rig.store.put("shared", _signed(os.urandom(1000)), ttl=rig.far)
                    await rig.store.take("bucket", 1, rate=_RATE, burst=_BURST)
                    await rig.store.hold("place", "parent", places=1, lease=lease)
                assert found is None or _is_signed(found.value), "half a value"
            await crew.kill_all()
        await rig.outlast(lease)
        for number in range(2):
            assert await rig.store.hold("place", f"{number}", places=2, lease=rig.far), "a hold outlives its lease"
        assert all(_is_signed(entry.value) for entry in await rig.all())


def most_at_once(steps: list[Step], lease: float) -> int:
    """How many holders there were surely at once, by the history of their ``held`` and ``freed`` steps.

    A holder surely has its place from the return of its hold until its lease ends, counted from its call, or until it
    calls release.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    freed = {step.value: step.began for step in steps if step.what == "freed"}
    for step in steps:
        if step.what == "held":
            end = min(step.began + lease, freed.get(step.value, step.began + lease))
            spans.setdefault(step.value, []).append((step.ended, end))
    moments: list[tuple[float, int]] = []
    for parts in spans.values():
        start, end = parts[0]
        for next_start, next_end in parts[1:]:
            if next_start > end:
                moments += [(start, 1), (end, -1)] if end > start else []
                start = next_start
            end = max(end, next_end)
        moments += [(start, 1), (end, -1)] if end > start else []
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def _whole(key: str) -> bytes:
    return key.encode() * 200


def _signed(data: bytes) -> bytes:
    return hashlib.sha256(data).digest() + data


def _is_signed(value: bytes) -> bool:
    return value == _signed(value[32:])


async def _rise(store: Store, log: Log, _: Any) -> None:
    while not log.is_over:
        began = time.monotonic()
        found = await store.get("counter")
        assert found is not None
        count = int(found.value) + 1
        try:
            version = await store.put("counter", b"%d" % count, version=found.version)
        except ConflictError:
            await asyncio.sleep(random.random() * 0.01)  # noqa: S311
        else:
            log.write("rose", began, (count, version))


async def _write(store: Store, log: Log, _: Any) -> None:
    number = 0
    while not log.is_over:
        number, began = number + 1, time.monotonic()
        await store.put("key", b"%d" % number)
        log.write("put", began, number)
        await asyncio.sleep(0.001)


async def _read(store: Store, log: Log, how: str) -> None:
    while not log.is_over:
        began = time.monotonic()
        found = await store.get("key") if how == "get" else (await store.list("k")).entries[0]
        assert found is not None
        log.write("read", began, int(found.value))
        await asyncio.sleep(0.001)


async def _take(store: Store, log: Log, _: Any) -> None:
    while not log.is_over:
        began = time.monotonic()
        grant = await store.take("bucket", 3, rate=_RATE, burst=_BURST)
        if grant.tokens:
            log.write("took", began, grant.tokens)
        await asyncio.sleep(min(grant.wait, 0.05) * random.random())  # noqa: S311


async def _hold(store: Store, log: Log, lease: float) -> None:
    number = 0
    while not log.is_over:
        number, holder, began = number + 1, f"{log.child}/{number}", time.monotonic()
        if await store.hold("place", holder, places=_PLACES, lease=lease) is None:
            await asyncio.sleep(0.02)
            continue
        log.write("held", began, holder)
        for _ in range(number % 3):
            await asyncio.sleep(lease / 10)
            began = time.monotonic()
            if await store.hold("place", holder, places=_PLACES, lease=lease) is None:
                break
            log.write("held", began, holder)
        if number % 5:  # else its lease ends
            log.write("freed", time.monotonic(), holder)
            await store.release("place", holder)
        await asyncio.sleep(0.01)


async def _hold_asleep(store: Store, log: Log, lease: float) -> None:
    """Stop this process while it has a place; stopped from outside, it could be within a transaction of SQLite."""
    holder, began = f"{log.child}/asleep", time.monotonic()
    while await store.hold("place", holder, places=_PLACES, lease=lease) is None:
        await asyncio.sleep(0.02)
        began = time.monotonic()
    log.write("held", began, holder)
    log.write("asleep", began, holder)
    os.kill(os.getpid(), signal.SIGSTOP)
    began = time.monotonic()
    if await store.hold("place", holder, places=_PLACES, lease=lease) is not None:
        log.write("held", began, holder)
    await _hold(store, log, lease)


async def _store(store: Store, log: Log, _: Any) -> None:
    number = 0
    while True:
        number, began = number + 1, time.monotonic()
        key = f"{log.child}/{number:06d}"
        version = await store.put(key, _whole(key), version=0)
        log.write("stored", began, (key, version))
        if number % 5 == 0:
            log.write("deleting", began, (key,))
            await store.delete(key)
            log.write("deleted", began, key)
        await asyncio.sleep(0.001)


async def _everything(store: Store, log: Log, lease: float) -> None:
    async def repeat(what: str) -> None:
        while True:
            began, data = time.monotonic(), _signed(os.urandom(20_000))
            match what:
                case "put":
                    await store.put("shared", data, ttl=600.0)
                case "own":
                    await store.put(f"{log.child}/own", data)
                    await store.delete(f"{log.child}/own")
                case "take":
                    await store.take("bucket", 1, rate=_RATE, burst=_BURST)
                case _:
                    await store.hold("place", log.child, places=2, lease=lease)
            log.write("done", began, what)
            await asyncio.sleep(0.002)

    await asyncio.gather(*map(repeat, ("put", "own", "take", "hold")))
