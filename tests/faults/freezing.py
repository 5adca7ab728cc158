"""Freezing: a process stands still for longer than its leases, as on a suspended machine, and then goes on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.drivers.sqlite.file.connections import turn_file

if TYPE_CHECKING:
    from tests.faults.test_cancel import Start, Workers

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
FREEZES = 60 if IS_CAMPAIGN else 2
_SHORT = ("sqlite", "redis")
_PATIENCE = 15.0
"""Seconds until a frozen process is thawed that stops the others as well, as it may hold the one lock of SQLite: longer
than the leases here, and shorter than the longest wait for that lock."""
TRIES = 3 * FREEZES
"""Not each freeze meets a worker that others can take over from."""


def faults_on(drivers: Sequence[str]) -> list[tuple[str, str]]:
    """Driver and fault, for the parameters of a test: workers are killed on each, frozen on some or in a campaign."""
    frozen_on = [driver for driver in drivers if IS_CAMPAIGN or driver in _SHORT]
    return [*((driver, "killed") for driver in drivers), *((driver, "frozen") for driver in frozen_on)]


@contextmanager
def frozen(pid: int, file: Path | None = None) -> Iterator[None]:
    """A child of this process stands still in the block.

    Args:
        file: of SQLite. A process that stands still within a write keeps all others out, so that no other can take
            over: it is stopped again until it is outside of one.
    """
    try:
        _stop(pid)
        while file is not None and _is_locked(file):
            os.kill(pid, signal.SIGCONT)
            _stop(pid)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def _is_locked(file: Path) -> bool:
    """Whether some process writes the file, or has the turn to."""
    with (
        closing(sqlite3.connect(file, timeout=0.0, isolation_level=None)) as connection,
        open(turn_file(str(file))) as turn,
    ):
        try:
            connection.execute("BEGIN IMMEDIATE")
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (sqlite3.OperationalError, BlockingIOError):
            return True
        return False


async def freeze_until(pid: int, is_taken_over: Callable[[], Awaitable[bool]]) -> bool:
    """Freeze a process until others have taken over its work; whether they could."""
    with frozen(pid):
        try:
            async with asyncio.timeout(_PATIENCE):
                while not await is_taken_over():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
    return True


async def freeze_one(workers: Workers, message_of: Callable[[Start], str]) -> bool:
    """Freeze the busy worker until another one runs a message that it was handling; False: that did not happen in time.

    Args:
        workers: their history tells the process of each line.
        message_of: the message that a line is about.
    """
    pid = workers.starts()[-1].pid  # it is at work
    before: list[Start] = []
    held: set[str] = set()

    async def is_taken_over() -> bool:
        starts = workers.starts()
        if not before:  # it is frozen now
            before.extend(starts)
            last = {message_of(start): start.pid for start in before}
            held.update(message for message, process in last.items() if process == pid)
        return any(start.pid != pid and message_of(start) in held for start in starts[len(before) :])

    return await freeze_until(pid, is_taken_over)
