"""Processes that work on a limited queue and note what they hold, so that a killed one leaves its notes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Received, Release, Settlement
from tests.faults.redis.rig import driver_at

KINDS = (Ack, Ack, Ack, Nack, Release)
_spawn = multiprocessing.get_context("spawn")


class Note(NamedTuple):
    """What a process saw, by the clock that all processes of a machine share.

    ``asked`` and ``at`` are before and after a receive; of a settlement both are the time before it.
    """

    process: int
    what: str
    id: str
    delivery: str
    asked: float
    at: float

    @property
    def lane(self) -> str:
        """The messages are lane-number."""
        return self.id.partition("-")[0]


@contextmanager
def worker(port: int, folder: Path, spec: QueueSpec, limit: int = 4) -> Iterator[SpawnProcess]:
    """A process that receives and settles until it is killed; it is at the end."""
    process = _spawn.Process(target=_work, args=(port, folder, spec, limit), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def notes(folder: Path) -> list[Note]:
    """What all processes have noted. The last line of each may be cut, by a kill or as it is being written."""
    found = [line.split(" ") for file in folder.glob("*.notes") for line in file.read_text().split("\n")[:-1]]
    return [Note(int(process), what, id, d, float(asked), float(at)) for process, what, id, d, asked, at in found]


def most_held(all_notes: list[Note], lease: float) -> dict[str, int]:
    """By lane the most messages that were certainly held at one time.

    A delivery is held from the answer on: until it is settled, or its lease ends, counted from the question.
    """
    ends = {note.delivery: note.at for note in all_notes if note.what == "settles"}
    changes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for note in all_notes:
        if note.what == "holds":
            end = min(ends.get(note.delivery, note.asked + lease), note.asked + lease)
            if end > note.at:
                changes[note.lane] += [(note.at, 1), (end, -1)]
    return {lane: max(accumulate(change for _, change in sorted(found))) for lane, found in changes.items()}


def _work(port: int, folder: Path, spec: QueueSpec, limit: int) -> None:
    asyncio.run(_receive(port, folder, spec, limit))


async def _receive(port: int, folder: Path, spec: QueueSpec, limit: int) -> None:
    pid, chance = os.getpid(), random.Random(os.getpid())
    log = os.open(folder / f"{pid}.notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, got: list[Received], asked: float, at: float) -> None:
        lines = (f"{pid} {what} {item.id} {item.receipt.decode()} {asked!r} {at!r}\n" for item in got)
        os.write(log, "".join(lines).encode())

    async with driver_at(port, spec=spec) as driver:
        while True:
            asked = time.monotonic()
            got = await driver.receive("q", chance.choice((1, limit)), 1.0)
            note("holds", got, asked, time.monotonic())
            await asyncio.sleep(0.002)
            kinds = [chance.choice(KINDS) for _ in got]
            batch: list[Settlement] = [kind(item.receipt) for kind, item in zip(kinds, got, strict=True)]
            note("settles", got, *[time.monotonic()] * 2)
            stale = set(await driver.settle("q", batch))
            done = [item for kind, item in zip(kinds, got, strict=True) if kind is Ack and item.receipt not in stale]
            note("acked", done, *[time.monotonic()] * 2)
