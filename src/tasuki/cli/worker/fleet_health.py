"""The health file of ``run --processes``: each process writes one of its own, and their parent one for all."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from tasuki.app.health.health_file import PERIOD, gathered, read, write

_log = logging.getLogger("tasuki.processes")


def file_of(file: Path, number: int) -> Path:
    """The health file of one process."""
    return file.with_name(f"{file.name}.{number}")


async def gather(file: Path, count: int, period: float = PERIOD) -> None:
    """Write the file for all of them, until cancelled."""
    live_at = time.time()
    while True:
        now = time.time()
        document = gathered({number: read(file_of(file, number)) for number in range(1, count + 1)}, now)
        live_at = now if document["live"] else live_at
        try:
            write(file, document, live_at)
        except OSError as error:
            _log.error("cannot write the health file: %s", error)
        await asyncio.sleep(period)
