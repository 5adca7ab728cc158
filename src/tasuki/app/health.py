"""Health: whether messages move, told to an orchestrator by the age of a file, and to people by what is in it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasuki.app.assembly import Assembly
from tasuki.app.status import status_of
from tasuki.clock import Clock, SystemClock
from tasuki.consumers.consumer import Consumer
from tasuki.errors import DriverError

_log = logging.getLogger("tasuki.app")

PERIOD = 5.0
"""Seconds between two looks; a healthy process's file is never older than a few of them."""

PATIENCE = 3
"""Looks in a row without progress after which a consumer is stuck."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a consumer saw."""

    delivered: int
    """Deliveries since the start."""
    has_room: bool
    """Whether it could take more: one whose workers are all busy does not stand still."""
    ready: int | None
    """Messages that wait for it; None: the broker did not answer, which no restart of a worker mends."""


@dataclass(slots=True)
class Progress:
    """Judges a row of looks at one consumer."""

    delivered: int = -1
    """As the last look saw it; -1: there was none."""
    _idle_looks: int = 0

    def is_stuck(self, look: Look) -> bool:
        """Whether messages were ready, it had room, and none came, for ``PATIENCE`` looks in a row."""
        stands_still = bool(look.ready) and look.has_room and look.delivered == self.delivered
        self._idle_looks = self._idle_looks + 1 if stands_still else 0
        self.delivered = look.delivered
        return self._idle_looks >= PATIENCE


@dataclass(slots=True)
class Pulse:
    """Writes a file again and again, as long as no consumer is stuck and the event loop turns.

    It holds one JSON document: :func:`tasuki.app.status.status_of`, with ``pid`` and ``time`` (Unix seconds), and for
    each consumer ``moved_at``: the last look that found something newly delivered to it; null: nothing yet.
    """

    file: Path
    assembly: Callable[[], Assembly | None]
    period: float = PERIOD
    clock: Clock = field(default_factory=SystemClock)
    _moved_at: dict[str, float] = field(default_factory=dict)
    _progress: dict[str, Progress] = field(default_factory=dict)
    _blind: set[str] = field(default_factory=set)
    """Consumers whose queue could not be looked at for a reason that nobody expected; said once, with its traceback."""

    async def run(self) -> None:
        """Until cancelled. Raises OSError when the file cannot be written at the start."""
        self.file.touch()  # is there and can be written
        self._write()  # not what a process of before has left
        while True:
            await asyncio.sleep(self.period)
            if stuck := await self.stuck():
                _log.error("no progress although messages are ready: %s", ", ".join(stuck))
            else:
                self._write()

    async def stuck(self) -> list[str]:
        """Ids of the consumers that stand still now; one call is one look."""
        live = self.assembly()
        consumers: Mapping[str, Consumer] = live.consumers if live is not None else {}
        self._progress = {id: self._progress.get(id, Progress()) for id in consumers}
        self._blind &= consumers.keys()
        # All at once: one after the other, many queues of a broker that does not answer would let the file get old.
        looks = await asyncio.gather(*map(self._look, consumers.values()))
        for id, look in zip(consumers, looks, strict=True):
            if look.delivered > max(self._progress[id].delivered, 0):
                self._moved_at[id] = self.clock.time()
        return [id for id, look in zip(consumers, looks, strict=True) if self._progress[id].is_stuck(look)]

    async def _look(self, consumer: Consumer) -> Look:
        options = consumer.options
        has_room = consumer.is_consuming and consumer.held < max(options.prefetch, options.concurrency)
        ready = await self._ready(consumer) if has_room else None
        return Look(consumer.metrics.delivered, has_room, ready)

    async def _ready(self, consumer: Consumer) -> int | None:
        try:
            async with asyncio.timeout(self.period):
                depth = await consumer.queue.driver.depth(consumer.queue.spec.name)
        except (DriverError, TimeoutError):
            return None
        except Exception:  # a driver's own mistake; the other consumers are looked at all the same
            if consumer.id not in self._blind:
                self._blind.add(consumer.id)
                _log.exception(
                    "health: cannot look into the queue of %s; it is taken for healthy until that works", consumer.id
                )
            return None
        self._blind.discard(consumer.id)
        # In order per key what counts as ready may stand behind a message that is held, or waits for a retry.
        may_be_behind = consumer.queue.spec.ordering == "key" and depth.in_flight + depth.delayed > 0
        return 0 if may_be_behind else depth.ready

    def _write(self) -> None:
        status = status_of(self.assembly())
        for id, consumer in status["consumers"].items():
            consumer["moved_at"] = self._moved_at.get(id)
        document = {"pid": os.getpid(), "time": self.clock.time(), **status}
        try:
            _replace(self.file, json.dumps(document) + "\n")
        except OSError as error:  # an orchestrator that restarts us then is right
            _log.error("cannot write the health file: %s", error)


def _replace(file: Path, text: str) -> None:
    """Give a file a new content, all at once for whoever reads it; what is no file of ours to replace is touched."""
    if file.is_symlink() or not file.is_file():
        file.touch()
        return
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except OSError:  # a folder that nobody may write to, a file that is mounted alone: its age is what counts
        file.touch()
        with suppress(OSError):
            fresh.unlink()
