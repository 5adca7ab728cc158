"""Attendance: writes the entry of a worker process into each store of its consumers, from its own thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from tasuki.backoff import UNTIL_BACK
from tasuki.errors import DriverError
from tasuki.state.shared import SharedState
from tasuki.state.worker_record import KEPT, MAX_BYTES, PERIOD, Presence, encode, next_sign_in
from tasuki.system.loop_thread import LoopThread

_log = logging.getLogger("tasuki.state")


M = TypeVar("M")

_GOODBYE = 1.0
"""Longest time that a consumer's stop waits for the store."""


class Attendance(Generic[M]):
    """Of all consumers (``M``) of a process. A handler that blocks the event loop does not make its worker look dead.

    An entry is written when it changes, within a period, and else as often as ``TTL`` asks for. An unavailable store
    is tried again soon; a missing entry delays no message.

    Args:
        describe: the entry for a state whose consumers are these, by the time of its store.
        period: seconds between two checks of what an entry says.
    """

    def __init__(self, describe: Callable[[Sequence[M], float], Presence], period: float = PERIOD) -> None:
        self._describe = describe
        self._period = period
        self._present: dict[SharedState, list[M]] = {}
        self._entries: dict[SharedState, _Entry] = {}
        self._thread: LoopThread | None = None
        self._changed = asyncio.Event()
        """Of the thread's loop: consumers have come or gone."""

    async def join(self, state: SharedState, consumer: M) -> None:
        """A consumer has started; its worker's entry has it soon."""
        self._present[state] = [*self._present.get(state, ()), consumer]
        if state.opened is None:
            with suppress(DriverError):
                await state.store()
        if self._thread is None:
            thread = self._thread = LoopThread("tasuki presence", work=self._keep)
            thread.start()
        else:
            self.look()

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
        entry, store = self._entries.pop(state, None), state.opened
        if entry is not None and entry.key and store is not None:
            with suppress(DriverError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await store.delete(entry.key)

    def look(self) -> None:
        """What the entries say has changed: write them now; from any thread."""
        thread = self._thread
        if thread is not None:
            thread.tell(self._changed.set)

    def key_in(self, state: SharedState) -> str:
        """The key of this process's entry in a state; '' before its first sign."""
        entry = self._entries.get(state)
        return "" if entry is None else entry.key

    async def _keep(self) -> None:
        """Each state has a task, so that a silent store delays no sign in another one."""
        self._changed = changed = asyncio.Event()
        tasks: dict[SharedState, tuple[asyncio.Task[None], asyncio.Event]] = {}
        while True:
            changed.clear()
            for state in list(self._present):
                task, look = tasks.get(state, (None, asyncio.Event()))
                if task is None or task.done():
                    task = asyncio.create_task(self._keep_in(state, look), name="sign of presence")
                    tasks[state] = task, look
                look.set()
            await changed.wait()

    async def _keep_in(self, state: SharedState, look: asyncio.Event) -> None:
        while state in self._present:
            look.clear()
            wait = await self._sign(state)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await look.wait()

    async def _sign(self, state: SharedState) -> float:
        """Write the entry if that is due; seconds until the next check. Does not raise, as that is another try."""
        entry = self._entries.setdefault(state, _Entry(state))
        if (store := state.opened) is None:
            return self._period
        try:
            now, at = await state.now(), state.clock.monotonic()
            if not (present := self._present.get(state)):
                return 0.0
            presence = entry.named(self._describe(present, now))
            wait = next_sign_in(presence, entry.last, entry.age)
            if wait:
                return min(wait, self._period)
            value = encode(presence, min(MAX_BYTES, store.facts.max_value_bytes))
            await store.put(presence.key, value, ttl=KEPT)
            entry.written(presence, at)
            if self._entries.get(state) is not entry:  # the last consumer has left meanwhile
                await store.delete(presence.key)
        except DriverError as error:
            _log.debug("no sign of presence: %s", error)
            return min(entry.failed(), self._period)
        except Exception:  # a defect here must not end the worker
            _log.exception("no sign of presence")
        return self._period


class _Entry:
    """The entry in one state, and what it said last.

    ``key`` is '' before the first sign; any thread may read it.
    """

    def __init__(self, state: SharedState) -> None:
        self._state = state
        self._clock = state.clock
        self.key = ""
        self.last: Presence | None = None
        """As the store has it, or may have it no more after a failed write: None."""
        self._started: float | None = None
        """By the store's clock, as the first entry says: the clocks drift, and the key must stay."""
        self._written_at = 0.0
        self._failures = 0

    @property
    def age(self) -> float:
        """Seconds since the last sign."""
        return self._clock.monotonic() - self._written_at

    def named(self, presence: Presence) -> Presence:
        """The entry with the start, and so the key, of the first one."""
        if self._started is None:
            self._started = presence.started
        presence = msgspec.structs.replace(presence, started=self._started)
        self.key = presence.key
        return presence

    def written(self, presence: Presence, at: float) -> None:
        """The store has it; ``at``: when it was begun, as its time to live may count from then."""
        self.last, self._written_at, self._failures = presence, at, 0

    def failed(self) -> float:
        """It could not be written: another server may answer next. Returns the seconds until the next try."""
        self.last = None
        self._state.forget_time()
        self._failures += 1
        return UNTIL_BACK.delay(self._failures)


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
