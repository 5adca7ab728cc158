"""A process with its own temporary queue, to be killed: ``python -m tests.support.asker <asker as JSON>``."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasuki.contracts.driver import Ack, Driver, QueueSpec

QUEUE = QueueSpec("reply.1", temporary=True)


async def _ask(module: str, name: str, fields: dict[str, Any], constants: dict[str, float]) -> None:
    for place, value in constants.items():
        of, _, constant = place.rpartition(".")
        setattr(importlib.import_module(of), constant, value)
    settings = importlib.import_module(f"{module.rpartition('.')[0]}.settings").KIND.model(**fields)
    driver: Driver = getattr(importlib.import_module(module), name)("asker", settings)
    await driver.open()
    await driver.declare(QUEUE)
    print("there", flush=True)
    while True:
        for received in await driver.receive(QUEUE.name, 1, 0.3):
            print(received.body.decode(), flush=True)
            await driver.settle(QUEUE.name, [Ack(received.receipt)])


class Asker:
    """The process, as the test sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        """What it says next: ``there``, then each reply."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """As the system does it that has no memory left."""
        self._process.kill()
        self._process.wait()


@contextmanager
def asker(driver: type[Driver], fields: dict[str, Any], constants: dict[str, float]) -> Iterator[Asker]:
    """Start it; ``constants`` by their full names are set there."""
    told = json.dumps([driver.__module__, driver.__name__, fields, constants])
    command = [sys.executable, "-m", "tests.support.asker", told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield Asker(process)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_ask(*json.loads(sys.argv[1])))
