"""A process that holds messages and is then killed, to see that they come back."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from tasuki.contracts.driver import QueueSpec
from tasuki.testing.conformance.rig import ShiftedClock, Suite

START_TIMEOUT = 30.0


class Holder:
    """Receives ``number`` messages in a child process; ``ids`` says which, ``kill`` is SIGKILL.

    The child makes its driver with the ``make_driver`` of the suite's class, which must be importable by its name.
    """

    def __init__(self, suite: Suite, place: Path, spec: QueueSpec, number: int) -> None:
        # Spawned, not forked: a fork would share the locks and threads of this process.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_hold, args=(type(suite), place, spec, number, theirs), daemon=True)
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


def _hold(suite: type[Suite], place: Path, spec: QueueSpec, number: int, pipe: Connection) -> None:
    asyncio.run(_receive(suite, place, spec, number, pipe))


async def _receive(suite: type[Suite], place: Path, spec: QueueSpec, number: int, pipe: Connection) -> None:
    driver = suite().make_driver(place, ShiftedClock())
    await driver.open()
    await driver.declare(spec)
    held: list[str] = []
    while len(held) < number:
        held += [received.id for received in await driver.receive(spec.name, number - len(held), START_TIMEOUT)]
    pipe.send(held)
    await asyncio.Event().wait()
