"""LimitedReceiving: keeps the limit of a queue in the worker, where the driver cannot, with slots leased from a store.

Tokens and places come from the store of the queue's state, before the messages: a message that must wait waits at the
broker. Both are a promise to start soon, so none is kept while an empty queue is waited for; the one message that ends
that wait is released if the limit does not allow it.

A separate thread renews and releases them, so a handler that blocks the main loop keeps its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from tasuki.backoff import Backoff
from tasuki.clock import Clock
from tasuki.consumers.fetching.window import DeliveryWindow
from tasuki.contracts.driver import Limit, Receipt, Received, Release, Settlement
from tasuki.contracts.state.store import Store
from tasuki.errors import BrokerUnavailableError, DriverError, UnsupportedError
from tasuki.observe.events import LIMITED
from tasuki.state.records import limit_key
from tasuki.system.loop_thread import LoopThread

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition


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


class LeasedPlaces:
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
        """Take up to this many more, and return how many were free. Raises DriverError if the first cannot be taken."""
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
        """Release this many, soon; first those that are lost."""
        self._give(sorted(self._held, key=self._held.__getitem__)[: max(count, 0)])

    def give_lost(self, most: int) -> None:
        """Release at most this many lost ones: others may have them by now, so no other message may start on one."""
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


_BLOCK = 0.2
"""Seconds of a rate that one call takes, so that many workers of a fast queue need few calls; and the longest time
between a token and the start of its message."""

_PAUSES = Backoff(initial_delay=0.02, max_delay=0.5, backoff_factor=2.0, jitter=0.5)
"""Before another request for a place, while other workers have all of them."""

_LINGER = 0.02
"""Seconds for which a place that has become free stays, for the next message of this worker."""


class LimitedReceiving:
    """Replaces the driver's ``receive`` for one run of a consumer; ``limit`` is the part that workers keep."""

    def __init__(self, consumer: Definition, limit: Limit, window: DeliveryWindow) -> None:
        self._consumer, self._limit, self._window = consumer, limit, window
        self._driver, self._queue = consumer.queue.driver, consumer.queue
        self._key = limit_key(self._driver.name, consumer.queue.spec.name)
        extra: dict[str, object] = {"consumer": consumer.id, "queue": consumer.queue.id}
        self.places = (
            None
            if limit.concurrency is None
            else LeasedPlaces(self._key, limit.concurrency, consumer.clock, extra=extra)
        )
        self._is_empty = False
        """The queue was empty a moment ago."""
        self._reserved = 0
        """Places for the messages of the receive that is under way."""
        self._refusals = 0
        self._freed: asyncio.Event | None = None
        """Set by a settlement while a place is waited for."""
        self._after: set[asyncio.Task[None]] = set()
        """Tokens and messages on their way back."""

    async def receive(self, queue: str, wanted: int, wait: float) -> list[Received]:
        """See :meth:`tasuki.contracts.driver.Driver.receive`; an empty list also after a wait for the limit."""
        if self._is_empty:
            return await self._first(queue, wait)
        allowed, pause = await self._allow(wanted)
        if not allowed:
            self._consumer.metrics.limit_waits += 1
            await self._sleep(min(pause, wait))
            return []
        received: list[Received] = []
        try:
            received = await self._driver.receive(queue, allowed, min(wait, _BLOCK))
        finally:
            self._use(len(received), allowed)
        self._is_empty = not received
        return received

    async def _first(self, queue: str, wait: float) -> list[Received]:
        """Wait for a message in an empty queue, without a token or place; one that may not start is released."""
        received = await self._driver.receive(queue, 1, wait)
        if not received:
            return []
        self._is_empty = False
        allowed = 0
        try:
            allowed, pause = await self._allow(1)
            if not allowed and pause <= _BLOCK:
                await self._sleep(pause)
                allowed, _ = await self._allow(1)
        finally:
            self._use(allowed, allowed)
            if not allowed:
                self._begin(self._release(received))
        return received if allowed else []

    async def _allow(self, wanted: int) -> tuple[int, float]:
        """How many messages may start now; if none, after how many seconds to ask again. Raises DriverError."""
        allowed = 0
        try:
            store = await self._store()
            if self.places is not None and not (wanted := await self._reserve(self.places, store, wanted)):
                self._refusals += 1
                return 0, _PAUSES.delay(self._refusals)
            self._refusals = 0
            if self._limit.rate is None:
                allowed = wanted
                return allowed, 0.0
            tokens = min(wanted, max(int(self._limit.rate * _BLOCK), 1))
            allowed, wait = await store.take(self._key, tokens, rate=self._limit.rate, burst=self._limit.burst)
        except DriverError as error:
            raise self._away(error) from error
        else:
            return allowed, wait
        finally:
            if not allowed:  # also when it is cancelled
                self._consumer.events.add_once(LIMITED)
                self._use(0, 0)

    async def _reserve(self, places: LeasedPlaces, store: Store, wanted: int) -> int:
        places.give_lost(len(places) - self._window.held)
        free = len(places) - self._window.held
        if free < wanted:
            self._reserved = wanted  # a settlement does not give away a place that is taken meanwhile
            await places.take(store, wanted - max(free, 0))
            free = len(places) - self._window.held
        self._reserved = max(min(free, wanted), 0)
        return self._reserved

    def _use(self, used: int, allowed: int) -> None:
        """As this many messages start, return the other tokens, and the places that are left over."""
        self._reserved = 0
        rate = self._limit.rate
        if used < allowed and rate is not None:
            self._begin(self._give(allowed - used, rate))
        if self.places is not None:
            self.places.give(len(self.places) - self._window.held - used)

    async def _give(self, tokens: int, rate: float) -> None:
        store = await self._store()
        await store.give(self._key, tokens, rate=rate, burst=self._limit.burst)

    async def _release(self, received: Sequence[Received]) -> None:
        await self._driver.settle(self._queue.spec.name, [Release(one.receipt) for one in received])

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._consumer.id} limit")
        self._after.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._after.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, DriverError):
            task.result()

    def settled(self, batch: Sequence[Settlement], stale: Collection[Receipt]) -> None:
        """Fewer messages are held: their places are for the next ones, or go back in a moment.

        A message that was released without a delay has not counted.
        """
        rate = self._limit.rate
        if rate is not None:
            unused = sum(type(each) is Release and not each.delay and each.receipt not in stale for each in batch)
            if unused:
                self._begin(self._give(unused, rate))
        if self.places is None or len(self.places) <= self._window.held + self._reserved:
            return
        if self._freed is not None:
            self._freed.set()
        asyncio.get_running_loop().call_later(_LINGER, self._give_places)

    def _give_places(self) -> None:
        if self.places is not None:
            self.places.give(len(self.places) - self._window.held - self._reserved)

    async def _sleep(self, seconds: float) -> None:
        self._freed = freed = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await freed.wait()
        except TimeoutError:
            pass
        finally:
            self._freed = None

    async def close(self) -> None:
        """Return all that it has."""
        if self._after:
            await asyncio.wait(set(self._after), timeout=1.0)
        if self.places is not None:
            await self.places.close()

    async def _store(self) -> Store:
        state = self._consumer.state
        if state is None:
            problem = f"queue {self._queue.id!r} has a limit that its driver does not keep, and no state: store for it"
            raise UnsupportedError(problem, driver=self._driver.name, queue=self._queue.id)
        return await state.store()

    def _away(self, error: DriverError) -> DriverError:
        if not error.retryable:
            return error
        problem = f"the limit of queue {self._queue.id!r} cannot be read from its store: {error}"
        return BrokerUnavailableError(problem, driver=error.driver, queue=self._queue.id)
