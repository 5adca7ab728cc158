"""DepthReader: reads how many messages the queues hold, in one process of an installation at a time.

The process that holds the place ``depth-reader`` of a store reads the queues whose state is in it. The place is for
processes that have the same queues: another project on the same store has its own. Queues without a state are read by
each process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from tasuki.app.state.workers import Census
from tasuki.contracts.driver import Depth
from tasuki.errors import DriverError
from tasuki.queues.queue import Queue
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime

PERIOD = 5.0
"""Seconds between two readings."""
LEASE = 15.0
"""Seconds after which another process reads in place of one that was killed."""
PLACE = "depth-reader"
_AT_ONCE = 8

_log = logging.getLogger("tasuki.app")


class Reading(NamedTuple):
    """What a queue held, and its consumers in all processes (None: unknown)."""

    depth: Depth
    consumers: int | None


class DepthReader:
    """Reads in the background until it is stopped; for the loop of the app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._holder = uuid4().hex
        self._depths: dict[str, tuple[float, Reading]] = {}
        """By the id of the queue, with the monotonic time of the reading."""
        self._held: dict[SharedState, str] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it reads; for any thread."""
        return self._task is not None and not self._task.done()

    def known(self) -> dict[str, Reading]:
        """The readings of this process that are not old; for any thread."""
        oldest = self._runtime.clock.monotonic() - 3 * PERIOD
        return {id: reading for id, (at, reading) in self._depths.copy().items() if at >= oldest}

    def start(self) -> None:
        """Begin to read, unless it does."""
        if not self.is_running and self._runtime.assembly is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="queue depths")

    async def stop(self) -> None:
        """Leave the reading to other processes. It can start again."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._depths.clear()
        for state, key in list(self._held.items()):
            if state.opened is not None:
                with suppress(DriverError):  # then it ends with its lease
                    await state.opened.release(key, self._holder)
        self._held.clear()

    async def _run(self) -> None:
        while self._runtime.assembly is not None:
            try:
                await self.read()
            except Exception:  # a defect of a driver must not end the reading of the others
                _log.exception("cannot read the depths of the queues")
            await asyncio.sleep(PERIOD)

    async def read(self) -> None:
        """Read once all queues that it is this process's turn to read."""
        if (assembly := self._runtime.assembly) is None:
            return
        census = Census(assembly)
        by_state: dict[SharedState | None, list[Queue]] = {}
        for queue in assembly.queues.values():
            by_state.setdefault(assembly.state_of(queue.id), []).append(queue)
        for state, queues in by_state.items():
            if state is None or await self._is_ours(state, queues):
                await self._read_all(queues, census)
            else:
                for queue in queues:
                    self._depths.pop(queue.id, None)

    async def _is_ours(self, state: SharedState, queues: Iterable[Queue]) -> bool:
        """Take or renew the place for these queues."""
        names = "\n".join(sorted(queue.spec.name for queue in queues))
        key = f"{PLACE}/{blake2b(names.encode(), digest_size=8).hexdigest()}"
        try:
            store = await state.store()
            is_ours = await store.hold(key, self._holder, places=1, lease=LEASE) is not None
        except DriverError as error:
            _log.debug("cannot tell who reads the depths of the queues: %s", error)
            return False
        if is_ours:
            self._held[state] = key
        else:
            self._held.pop(state, None)
        return is_ours

    async def _read_all(self, queues: Iterable[Queue], census: Census) -> None:
        left = iter(queues)

        async def read_some() -> None:
            for queue in left:
                try:
                    depth = await census.depth(queue.id)
                except DriverError:  # the old one is left out soon
                    continue
                reading = Reading(depth, await census.count(queue.id))
                self._depths[queue.id] = self._runtime.clock.monotonic(), reading

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(read_some())
