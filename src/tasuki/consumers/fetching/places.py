"""Places: concurrency slots of a queue, leased from its store.

A separate thread renews and releases them, so a handler that blocks the main loop keeps its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol
from uuid import uuid4

from tasuki.clock import Clock
from tasuki.contracts.state.store import Store
from tasuki.errors import DriverError
from tasuki.system.loop_thread import LoopThread

_log = logging.getLogger("tasuki.consumer")

LEASE = 12.0
"""Seconds after which the place of a killed worker is free; with a late renewal still less than 15."""
_RENEWALS = 3
"""Times that a place is renewed while its lease would last."""
_GOODBYE = 1.0
"""Longest time that the end of a consumer waits for the store."""

Work = Callable[[], Coroutine[Any, Any, None]]


class Thread(Protocol):
    """The methods of :class:`tasuki.system.loop_thread.LoopThread` that places need."""

    def start(self) -> None:
        """Begin its work."""

    def tell(self, what: Callable[[], object]) -> bool:
        """Call a function on its loop."""

    async def call(self, verb: Work) -> None:
        """Run a coroutine on its loop, to its end."""

    def stop(self) -> None:
        """Cancel the work on it."""


def _own_thread(work: Work) -> Thread:
    return LoopThread("tasuki places", work=work)


class Places:
    """The places of one run of a consumer. ``take`` and ``give`` belong to the main loop.

    Args:
        key: in the store, the same for all workers of the queue.
        places: how many there are, over all workers.
        clock: for the ends of the leases.
        thread: makes the thread for this work; it starts with the first place.
        extra: the fields of log lines.
    """

    def __init__(
        self,
        key: str,
        places: int,
        clock: Clock,
        *,
        thread: Callable[[Work], Thread] = _own_thread,
        extra: dict[str, object] | None = None,
    ) -> None:
        self._key, self._places, self._clock = key, places, clock
        self._make_thread, self._extra = thread, extra
        self._thread: Thread | None = None
        self._store: Store | None = None
        self._held: dict[str, float] = {}
        """The holders, and until when (boot time) each surely has its place; 0.0: lost. The thread reads copies."""
        self._turn: asyncio.Lock | None = None
        """Of the thread's loop: a place that is being renewed is released after that, or it would be taken again."""
        self._leaving: list[str] = []
        """The holders whose places are about to be released."""
        self._release_task: asyncio.Task[None] | None = None
        """Of the thread's loop."""

    def __len__(self) -> int:
        return len(self._held)

    async def take(self, store: Store, wanted: int) -> int:
        """Take up to so many more, and return how many were free. Raises DriverError if the first cannot be taken."""
        self._store = store
        for taken in range(wanted):
            holder, asked = uuid4().hex, self._clock.boottime()
            try:
                if await store.hold(self._key, holder, places=self._places, lease=LEASE) is None:
                    return taken
            except DriverError:
                if not taken:
                    raise
                return taken
            except asyncio.CancelledError:
                self._let_go([holder])  # perhaps it was taken
                raise
            self._held[holder] = asked + LEASE
            self._start()
        return wanted

    def give(self, count: int) -> None:
        """Release so many, soon; first those that are lost."""
        self._give(sorted(self._held, key=self._held.__getitem__)[: max(count, 0)])

    def give_lost(self, most: int) -> None:
        """Release at most so many that are lost: others may have them by now, so no other message may start on one."""
        now = self._clock.boottime()
        self._give([holder for holder, until in self._held.items() if until <= now][: max(most, 0)])

    def _give(self, holders: Sequence[str]) -> None:
        for holder in holders:
            del self._held[holder]
        if holders:
            self._let_go(holders)

    async def close(self) -> None:
        """Release all, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._leaving += self._held
        self._held.clear()
        with suppress(TimeoutError, RuntimeError):  # then they end with their leases
            async with asyncio.timeout(_GOODBYE):
                await thread.call(self._release)
        thread.stop()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = self._make_thread(self._keep)
            self._thread.start()

    def _let_go(self, holders: Sequence[str]) -> None:
        self._leaving += holders
        if self._thread is not None:
            self._thread.tell(self._begin_release)  # a thread that only starts does it first

    def _begin_release(self) -> None:
        if self._release_task is None or self._release_task.done():
            self._release_task = asyncio.get_running_loop().create_task(self._release(), name="release places")

    async def _release(self) -> None:
        store = self._store
        async with self._turn_here():
            while self._leaving and store is not None:
                holder = self._leaving.pop(0)
                try:
                    await store.release(self._key, holder)
                except DriverError as error:
                    _log.debug("a place is not released, and ends with its lease: %s", error, extra=self._extra)

    def _turn_here(self) -> asyncio.Lock:
        if self._turn is None:
            self._turn = asyncio.Lock()
        return self._turn

    async def _keep(self) -> None:
        self._turn = self._release_task = None  # of an earlier loop that has failed
        await self._release()
        while True:
            await asyncio.sleep(LEASE / _RENEWALS)
            for holder in list(self._held):
                await self._renew(holder)

    async def _renew(self, holder: str) -> None:
        store = self._store
        async with self._turn_here():
            if holder not in self._held or store is None:
                return
            asked = self._clock.boottime()
            try:
                is_held = await store.hold(self._key, holder, places=self._places, lease=LEASE) is not None
            except DriverError as error:  # the next renewal may succeed in time
                _log.debug("a place is not renewed: %s", error, extra=self._extra)
                return
            if self._held.get(holder) and not is_held:
                text = "a place was lost, as its lease could not be renewed in time: more than %d messages may be held"
                _log.warning(text, self._places, extra=self._extra)
            if holder in self._held:
                self._held[holder] = asked + LEASE if is_held else 0.0
