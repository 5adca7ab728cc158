"""Processes that work with a store at the same time, write down what they did, and are killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, NamedTuple

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import Store
from tasuki.testing.conformance.clock import ShiftedClock
from tasuki.testing.conformance.stores.rig import NAME, StoreRig

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
        """Wait until there are so many steps of a kind; the case's own timeout is the bound."""
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
