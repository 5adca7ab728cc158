"""Attendance: keeps the entry of a worker process in each store of its consumers, from a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from tasuki.errors import DriverError
from tasuki.state.presence import PERIOD, TTL, Presence, encode
from tasuki.state.shared import SharedState
from tasuki.system.loop_thread import LoopThread

_log = logging.getLogger("tasuki.state")

M = TypeVar("M")
_GOODBYE = 1.0
"""Longest time that a consumer's stop waits for the store."""


class Attendance(Generic[M]):
    """Of all consumers (``M``) of a process. A handler that blocks the event loop does not make its worker look dead.

    A store that is away is tried again with the next sign; a missing entry delays no message.

    Args:
        describe: the entry for a state whose consumers are these, by the time of its store.
        period: seconds between two signs.
    """

    def __init__(self, describe: Callable[[Sequence[M], float], Presence], period: float = PERIOD) -> None:
        self._describe = describe
        self._period = period
        self._present: dict[SharedState, list[M]] = {}
        self._keys: dict[SharedState, str] = {}
        self._started: dict[SharedState, float] = {}
        """By the clock of each store, as its first entry says: the clocks drift, and the key must stay."""
        self._thread: LoopThread | None = None
        self._changed = asyncio.Event()
        """Of the thread's loop: wakes it for another sign."""

    async def join(self, state: SharedState, consumer: M) -> None:
        """A consumer has started; its worker's entry tells of it soon."""
        self._present[state] = [*self._present.get(state, ()), consumer]
        if state.opened is None:
            with suppress(DriverError):
                await state.store()
        if self._thread is None:
            thread = self._thread = LoopThread("tasuki presence", work=self._keep)
            thread.start()
        else:
            self._thread.tell(self._changed.set)

    async def leave(self, state: SharedState, consumer: M) -> None:
        """A consumer has stopped. With the last one of a state, the entry is removed."""
        left = [each for each in self._present.get(state, ()) if each is not consumer]
        if left:
            self._present[state] = left
            return
        self._present.pop(state, None)
        thread = self._thread
        if not self._present and thread is not None:
            self._thread = None
            thread.stop()
            await _ended(thread)  # so that no sign follows the removal
        if state in self._present:
            return  # another consumer has joined meanwhile, and the entry is its
        key, store = self._keys.pop(state, ""), state.opened
        self._started.pop(state, None)
        if key and store is not None:
            with suppress(DriverError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await store.delete(key)

    def key_in(self, state: SharedState) -> str:
        """The key of this process's entry in a state; '' before its first sign."""
        return self._keys.get(state, "")

    async def _keep(self) -> None:
        self._changed = changed = asyncio.Event()
        while True:
            changed.clear()
            await asyncio.gather(*(self._sign(state) for state in list(self._present)))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await changed.wait()

    async def _sign(self, state: SharedState) -> None:
        """Put the entry; does not raise, as the next sign is another try."""
        if (store := state.opened) is None:
            return
        try:
            now = await store.time()
            present = self._present.get(state)
            if not present:
                return
            presence = self._describe(present, now)
            started = self._started.setdefault(state, presence.started)
            presence = msgspec.structs.replace(presence, started=started)
            self._keys[state] = presence.key
            await store.put(presence.key, encode(presence), ttl=TTL)
        except DriverError as error:
            _log.debug("no sign of presence: %s", error)
        except Exception:  # a defect here must not end the worker
            _log.exception("no sign of presence")


async def _ended(thread: LoopThread) -> None:
    """Wait for the end of a thread, but no longer than a stop may take: its broker may be silent."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def join() -> None:
        thread.join()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=join, name="end of tasuki presence", daemon=True).start()
    await asyncio.wait([done], timeout=_GOODBYE)
