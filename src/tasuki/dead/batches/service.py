"""Service: the batches that this process drives, and the ones of other processes that it goes on with when they die.

It hears of a batch by the watch that each worker has anyway on the controls of its stores: without a batch it asks
no other process anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.errors import DriverError
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.dead.host import Host

_log = logging.getLogger("tasuki.batches")
CONTROLS = "batch/"
_PAUSE = 5.0
"""Seconds before another try where a store is unavailable, or a defect ended one."""
_GRACE = 5.0
"""Seconds that the letters which are being moved have at a stop."""


class BatchService:
    """Of one process, for the loop of its app."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.host: Host | None = None
        """The project as it is now."""
        self.holder = uuid4().hex
        self._tasks: dict[str, tuple[asyncio.Task[None], SharedState]] = {}
        self._told: dict[str, asyncio.Event] = {}
        """By batch: whether there is something new since it was looked at."""
        self._deaf: dict[SharedState, Callable[[], None]] = {}
        """What ends the hearing of each state."""
        self._following: list[asyncio.Task[None]] = []

    def take_charge(self, host: Host) -> None:
        """This is the project now: hear of batches in the states of its queues, as far as this process follows them."""
        self.host = host
        for state in {state for id in host.queues if (state := host.state_of(id)) is not None} - self._deaf.keys():
            self._hear(state)

    def _hear(self, state: SharedState) -> None:
        def heard(key: str, value: bytes | None) -> None:
            if value is not None:
                self.take(state, key.removeprefix(CONTROLS))

        self._deaf[state] = state.controls.listen(CONTROLS, heard)

    def follow(self, is_there: Callable[[SharedState], Awaitable[bool]]) -> None:
        """Follow the states of all queues, in a process without consumers; an unavailable one when it is back."""
        loop = asyncio.get_running_loop()
        self._following = [loop.create_task(_follow(state, is_there)) for state in self._deaf]

    def take(self, state: SharedState, id: str) -> None:
        """Drive a batch, unless another process does; then go on with it when that one dies."""
        if id in self._tasks:
            self._told[id].set()
            return
        self._told[id] = told = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._drive(state, id, told), name=f"batch {id}")
        self._tasks[id] = task, state

        def ended(task: asyncio.Task[None]) -> None:
            del self._tasks[id]
            told = self._told.pop(id)
            if not task.cancelled() and task.exception() is None and told.is_set():
                self.take(state, id)  # there was news while its last check ended

        task.add_done_callback(ended)

    async def _drive(self, state: SharedState, id: str, told: asyncio.Event) -> None:
        told.set()
        while told.is_set() and (host := self.host) is not None:
            told.clear()
            try:
                wait = await self._look(host, state, id, told)
            except DriverError as error:
                _log.debug("batch %s: %s", id, error)
                wait = _PAUSE
            except Exception:  # a defect must not leave the batch alone
                _log.exception("batch %s stands still", id)
                wait = _PAUSE
            if wait:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await told.wait()
                told.set()

    async def _look(self, host: Host, state: SharedState, id: str, told: asyncio.Event) -> float:
        """Do what there is to do for a batch; seconds until the next check, 0: there is nothing any more."""
        from tasuki.dead.batches.batch_store import BatchStore
        from tasuki.dead.batches.running import OTHERS, run

        batches = BatchStore(await state.store())
        version = await batches.told(id)
        wait = await run(host, batches, id, self.holder, self.clock)
        if wait == OTHERS:
            return 0.0
        if not wait and version is not None and not told.is_set():
            await batches.hush(id, version)
        return wait

    async def close(self, driver: Driver) -> None:
        """Leave the batches in the states of a driver to other processes: it is about to close."""
        for following in self._following:
            following.cancel()
        for state in [state for state in self._deaf if state.driver is driver]:
            self._deaf.pop(state)()
        tasks = [task for task, state in self._tasks.values() if state.driver is driver]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE)


async def _follow(state: SharedState, is_there: Callable[[SharedState], Awaitable[bool]]) -> None:
    while not state.is_following:
        try:
            if await is_there(state):
                await state.follow()
                continue
        except DriverError as error:
            _log.debug("cannot follow the batches of driver %s yet: %s", state.driver.name, error)
        await asyncio.sleep(_PAUSE)
