"""Pool: the child processes of one function; grows with its messages, and replaces dead children."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tasuki.backoff import Backoff
from tasuki.contracts.handler import Context
from tasuki.contracts.recycling import NO_LIMITS, Limits
from tasuki.errors import HandlerError
from tasuki.handlers.process.worker import ChildWorker, Recipe
from tasuki.system.process import resident_bytes

BACKOFF = Backoff(initial_delay=0.1, max_delay=30.0)
"""Pauses before the next child, after children that have died without a message."""
_STABLE = 10.0
"""Seconds after which a child without a message was of use: it was idle."""

_log = logging.getLogger("tasuki.handlers.process")


class ChildPool:
    """At most ``size`` children of one recipe.

    A message goes to a child that has nothing to do; if there is none, to a new one; if there are enough, to the one
    with the fewest. A child that has died is replaced at once, or after a growing pause if it has handled nothing. One
    that has reached one of the ``limits`` gets no more messages, and ends with its last one.
    """

    def __init__(self, id: str, recipe: Recipe, size: int, limits: Limits = NO_LIMITS) -> None:
        self._id = id
        self._recipe = recipe
        self._size = max(size, 1)
        self._limits = limits
        self._workers: list[ChildWorker] = []
        self._leaving: list[ChildWorker] = []
        """Children that get no more messages, and still have some."""
        self._burials: set[asyncio.Task[None]] = set()
        self._starts: dict[asyncio.Task[None], ChildWorker] = {}
        self._useless = 0
        """Children in a row that have died without a message."""
        self._pause: asyncio.Task[None] | None = None
        """Ends when the next child may start; None: it may start now."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopped = False

    async def start(self) -> None:
        """Make sure that there is a child. Raises the error of its ``boot``."""
        self._settle_in()
        if not any(worker.is_ready for worker in self._workers):
            await self._start_one()

    async def run(self, kind: int, payload: bytes, context: Context, time: float | None = None) -> Any:
        """Handle one message or call in a child; see Worker.

        Raises:
            TimeoutError: it ran longer than ``time`` seconds; waiting for a child does not count.
        """
        self._settle_in()
        worker = self._free()
        while worker is None:
            await self._start_one()
            worker = self._free()
        try:
            if time is None:
                return await worker.run(kind, payload, context)
            async with asyncio.timeout(time):
                return await worker.run(kind, payload, context)
        finally:
            if self._limits:
                self._recycle(worker)

    def _recycle(self, worker: ChildWorker) -> None:
        """Let a child that has reached a limit get no more messages, and end it when it has none."""
        if worker in self._workers and worker.is_ready:
            age = asyncio.get_running_loop().time() - worker.started
            limits = self._limits.spread(worker.pid % 100 / 100)
            if why := limits.reached(worker.runs, lambda: resident_bytes(worker.pid), age):
                _log.info("a process of %s ends in order: %s", self._id, why)
                self._workers.remove(worker)
                self._leaving.append(worker)
                if not self._is_stopped:
                    self._begin()
        if worker in self._leaving and not worker.load:
            self._leaving.remove(worker)
            worker.close()
            self._bury(worker)

    def _bury(self, worker: ChildWorker) -> None:
        task = asyncio.get_running_loop().create_task(worker.ended())
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    def pids(self) -> list[int]:
        """The ids of the processes, for people and tests."""
        return [worker.pid for worker in self._workers]

    def _settle_in(self) -> None:
        """Children belong to an event loop; in another one there are new ones."""
        loop = asyncio.get_running_loop()
        self._is_stopped = False
        if self._loop is not loop:
            for worker in (*self._workers, *self._leaving):
                worker.abandon()
            self._leaving = []
            self._workers, self._starts, self._burials, self._pause, self._loop = [], {}, set(), None, loop

    def _free(self) -> ChildWorker | None:
        """The child for the next message; None: one has to be started, or is starting."""
        ready = [worker for worker in self._workers if worker.is_ready]
        best = min(ready, key=lambda worker: worker.load, default=None)
        is_full = len(ready) >= self._size
        return best if best is not None and (is_full or best.load == 0) else None

    async def _start_one(self) -> None:
        """Wait until one more child is ready; another message may take it first.

        Raises:
            HandlerError: its ``boot`` failed, or the pool was stopped before it was started.
        """
        if self._pause is not None:
            await asyncio.wait([self._pause])
            if self._is_stopped:
                problem = f"{self._id} was stopped while a message waited for its process"
                raise HandlerError(problem, kind="Internal", retryable=True)
        if len(self._workers) < self._size:
            self._begin()
        starts = list(self._starts)
        if starts:
            done, _ = await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
            if not any(worker.is_ready for worker in self._workers):
                done.pop().result()

    def _begin(self) -> asyncio.Task[None]:
        worker = ChildWorker(self._recipe, self._gone)
        self._workers.append(worker)
        task = asyncio.get_running_loop().create_task(worker.booted())
        self._starts[task] = worker
        task.add_done_callback(self._began)
        return task

    def _began(self, task: asyncio.Task[None]) -> None:
        worker = self._starts.pop(task, None)
        if not task.cancelled() and task.exception() is not None and worker in self._workers:
            self._workers.remove(worker)

    def _gone(self, worker: ChildWorker) -> None:
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        self._bury(worker)
        has_run = worker not in self._starts.values()
        if has_run and not self._is_stopped:
            self._replace(worker)

    def _replace(self, worker: ChildWorker) -> None:
        loop = asyncio.get_running_loop()
        was_of_use = worker.runs > 0 or loop.time() - worker.started > _STABLE
        self._useless = 0 if was_of_use else self._useless + 1
        if was_of_use:
            _log.warning("a process of %s is gone and is replaced", self._id)
            self._begin()
        elif self._pause is None:
            delay = BACKOFF.delay(self._useless)
            _log.warning(
                "a process of %s is gone before its first message; the next one starts in %.1f s", self._id, delay
            )
            self._pause = loop.create_task(self._begin_in(delay))

    async def _begin_in(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._pause = None
        if len(self._workers) < self._size:
            self._begin()

    async def stop(self) -> None:
        """End all children with their messages and calls. Idempotent; ``start`` and ``run`` start new ones."""
        self._is_stopped = True
        if self._pause is not None and self._loop is asyncio.get_running_loop():
            self._pause.cancel()
        self._pause = None
        workers, self._workers, self._leaving = [*self._workers, *self._leaving], [], []
        is_here = self._loop is asyncio.get_running_loop()
        for worker in workers:
            if is_here:
                worker.close()
            else:
                worker.abandon()
        await asyncio.gather(*(worker.ended() for worker in workers), *self._burials)
