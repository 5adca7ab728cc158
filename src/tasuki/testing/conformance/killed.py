"""A process that holds messages, has started some of them, and is then killed, to see that they come back."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from tasuki.contracts.driver import Driver, QueueSpec, Received
from tasuki.testing.conformance.clock import ShiftedClock
from tasuki.testing.conformance.rig import Rig, Suite

START_TIMEOUT = 60.0
"""Seconds: the child imports all that its suite does, on a machine that may be busy with thirty others."""


@dataclass(frozen=True)
class _Duty:
    make: Callable[[Path, ShiftedClock], Driver]
    place: Path
    spec: QueueSpec
    number: int
    starts: int


class Holder:
    """Receives ``number`` messages in a child process; ``ids`` says which, ``kill`` is SIGKILL.

    It records the start of the first ``starts`` messages. The child makes its driver with the ``maker`` of the suite.
    """

    def __init__(self, suite: Suite, place: Path, spec: QueueSpec, number: int, *, starts: int = 0) -> None:
        # Spawned, not forked: a fork would share the locks and threads of this process.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        duty = _Duty(suite.maker(), place, spec, number, starts)
        self._process = context.Process(target=_hold, args=(duty, theirs), daemon=True)
        self._theirs = theirs
        self.ids: list[str] = []

    async def __aenter__(self) -> Holder:
        await asyncio.to_thread(self._process.start)
        self._theirs.close()
        if not await asyncio.to_thread(self._pipe.poll, START_TIMEOUT):
            self.kill()
            raise AssertionError("the holding process did not start")
        self.ids = self._pipe.recv()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._pipe.close()
        self._process.close()

    def kill(self) -> None:
        """SIGKILL, and wait for the end of the process."""
        self._process.kill()
        self._process.join()


async def killed(rig: Rig, spec: QueueSpec, number: int, *, starts: int = 0) -> list[str]:
    """The ids of the messages that a process has received, which was killed then."""
    async with Holder(rig.suite, rig.place, spec, number, starts=starts) as holder:
        holder.kill()
    return holder.ids


def _hold(duty: _Duty, pipe: Connection) -> None:
    asyncio.run(_receive(duty, pipe))


async def _receive(duty: _Duty, pipe: Connection) -> None:
    driver, queue = duty.make(duty.place, ShiftedClock()), duty.spec.name
    await driver.open()
    await driver.declare(duty.spec)
    held: list[Received] = []
    while len(held) < duty.number:
        held += await driver.receive(queue, duty.number - len(held), START_TIMEOUT)
    for received in held[: duty.starts]:
        if await driver.start(queue, [received.receipt]):
            (again,) = await driver.receive(queue, 1, START_TIMEOUT)
            assert again.id == received.id
            await driver.start(queue, [again.receipt])
    pipe.send([received.id for received in held])
    await asyncio.Event().wait()
