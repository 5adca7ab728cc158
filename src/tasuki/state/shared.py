"""SharedState: a store that several queues share, opened at its first use, with one watch on its controls.

What a process may record of failed attempts is limited: by one run of a consumer, and by a process in an hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, TypeVar

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import CURRENT, Change, Current, Entry, Grant, Page, Store, StoreFacts
from tasuki.errors import BrokerUnavailableError, DriverError

PER_HOUR = 10_000
"""Records of an hour, of all consumers of the process: they must not fill the store."""

EACH = 1_000
"""Records of an hour that each consumer has, whatever the others have written."""

_HOUR = 3600.0


class HourlyRecords:
    """The hour of one process and store. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._ends = float("-inf")
        self._before = 0
        self._by_consumer: dict[str, int] = {}
        self._count = 0

    def take(self, consumer: str, now: float) -> bool:
        """For one record of a consumer; whether there is room."""
        if now >= self._ends:
            self._before = self._count if now < self._ends + _HOUR else 0
            self._ends, self._count, self._by_consumer = now + _HOUR, 0, {}
        own = self._by_consumer.get(consumer, 0)
        if self._count >= PER_HOUR and own >= EACH:
            return False
        self._count += 1
        self._by_consumer[consumer] = own + 1
        return True

    def longest(self) -> float:
        """Most seconds for which a record of now may be kept: the more there are, the fewer; an hour or more."""
        return max(PER_HOUR / max(self._count, self._before, 1), 1.0) * _HOUR


AT_ONCE = 1000
"""Records of failures that come together."""

PER_SECOND = 300
"""Records a second, after a burst of this many: at whatever rate messages fail, they cost a fiftieth of a processor."""


class Allowance:
    """The allowance of one run of a consumer; ``hour``: shared by the consumers of a process and store."""

    def __init__(self, consumer: str, hour: HourlyRecords) -> None:
        self._consumer, self._hour = consumer, hour
        self._left, self._at = float(AT_ONCE), float("-inf")

    def take(self, now: float) -> str:
        """For a failed attempt; empty, or why it is not recorded. ``now``: seconds of a clock that never goes back."""
        self._left, self._at = min(self._left + (now - self._at) * PER_SECOND, float(AT_ONCE)), now
        if self._left < 1:
            return f"more than {PER_SECOND} fail in a second"
        if not self._hour.take(self._consumer, now):
            return f"more than {PER_HOUR} fail in an hour"
        self._left -= 1
        return ""


CONTROL = "control/"
"""Prefix of the keys that every worker watches: keep them few, small and short-lived."""

MADE = CONTROL + "made"
"""A mark that the first order writes and no process removes: a store without it has lost its entries. It sorts before
the orders, so that a watch reports its loss first."""

Listener = Callable[[str, bytes | None], None]
"""Gets a key, without ``CONTROL``, and its new value; None: it is gone. Runs in the loop of the watch."""


class Controls:
    """The values under ``CONTROL``. Keys are given without that prefix."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._ours: dict[str, Change] = {}
        """Changes of this process that the watch has not reported yet."""
        self._under_way: dict[str, list[list[Change]]] = {}
        """What the watch has reported while this process was changing a key."""
        self._listeners: dict[str, list[Listener]] = {}

    def get(self, key: str) -> bytes | None:
        """The value of a key; None: there is none."""
        return self._values.get(key)

    def under(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """All keys of a prefix with their values."""
        return ((key, value) for key, value in list(self._values.items()) if key.startswith(prefix))

    def listen(self, prefix: str, listener: Listener) -> Callable[[], None]:
        """Call the listener for each later change of a key of this prefix. Returns what ends that."""
        listeners = self._listeners.setdefault(prefix, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    @contextmanager
    def changing(self, key: str) -> Iterator[list[Change]]:
        """For the time of the block this process changes a key; the value is what ``change`` has to know then."""
        reports: list[Change] = []
        self._under_way.setdefault(key, []).append(reports)
        try:
            yield reports
        finally:
            left = [each for each in self._under_way.pop(key) if each is not reports]
            if left:
                self._under_way[key] = left

    def change(self, change: Change, reports: Sequence[Change] = ()) -> None:
        """Take note of a change that this process has made, unless the watch has reported it or a later one."""
        if any(_rank(report) >= _rank(change) for report in reports):
            return
        key = change.key.removeprefix(CONTROL)
        self._ours[key] = change
        self._set(key, change.value)

    def apply(self, change: Change) -> None:
        """Take note of a change that the watch reports, unless it is older than one of this process.

        Its versions may fall: a store that has lost its last writes has what it had before (store clause 34).
        """
        key = change.key.removeprefix(CONTROL)
        for reports in self._under_way.get(key, ()):
            reports.append(change)
        if (ours := self._ours.get(key)) is not None:
            if _rank(change) < _rank(ours):
                return
            del self._ours[key]
        self._set(key, change.value)

    def forget_others(self, keys: Container[str]) -> None:
        """These are all keys of the store; others have gone while there was no watch."""
        self._ours = {key: change for key, change in self._ours.items() if CONTROL + key in keys}
        for key in [key for key in self._values if CONTROL + key not in keys]:
            self._set(key, None)

    def _set(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        for prefix, listeners in list(self._listeners.items()):
            if key.startswith(prefix):
                for listener in list(listeners):
                    listener(key, value)


def _rank(change: Change) -> tuple[int, bool]:
    """Which of two changes of a key is the later one. A deletion has the version of the last put."""
    return change.version, change.value is None


T = TypeVar("T")

_log = logging.getLogger("tasuki.state")

STATE = "state"
"""Name of the store that a driver has for its own queues."""

SILENT = 2.0
"""Seconds after which counts are shown without what a store would add to them."""

_PAUSE = 1.0
"""Seconds before a watch begins again that has failed, against the contract."""

TIME_KEPT = 600.0
"""Seconds for which this machine's clocks count a store's time on: in that time they drift by milliseconds."""

_JUMP = 1.0
"""Seconds by which this machine's clocks part where one was set, or the machine slept: the store is asked again."""


class SharedState:
    """One per driver and name of a store in a process. A process that only publishes opens no store, and watches none.

    Args:
        driver: has the store; its service opens and closes it, and calls ``close``.
        name: of the store.
        clock: of this process.
    """

    def __init__(self, driver: Driver, name: str, clock: Clock) -> None:
        self.driver = driver
        self.name = name
        self.clock = clock
        self.controls = Controls()
        """As ``follow`` reads them."""
        self.hour = HourlyRecords()
        """Bounds the records of failed attempts."""
        self.reads_only = False
        """The process only looks: a store that is not there is not made for that."""
        self._store: Store | None = None
        self._silent_until = 0.0
        self._changing: asyncio.Lock | None = None
        self._following: asyncio.Task[None] | None = None
        self._is_current: asyncio.Future[None] | None = None
        self._ahead: float | None = None
        """Of the store's time to this process's monotonic clock."""
        self._asked_at = self._apart = 0.0
        """When the store was asked for it, and how far this machine's clocks were apart then."""

    async def now(self) -> float:
        """The time of the store, which is asked now and then; from any thread. Raises DriverError."""
        here = self.clock.monotonic()
        apart, ahead = self.clock.time() - here, self._ahead
        if ahead is None or here - self._asked_at > TIME_KEPT or abs(apart - self._apart) > _JUMP:
            ahead = self._ahead = await (await self.store()).time() - self.clock.monotonic()
            self._asked_at, self._apart = here, apart
        return self.clock.monotonic() + ahead

    def forget_time(self) -> None:
        """Ask the store for its time again: another server may answer next."""
        self._ahead = None

    async def soon(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of a store for counts that are worth showing without it.

        Raises:
            DriverError: the store cannot be read. TimeoutError: it does not answer within ``SILENT`` seconds, or has
                not a moment ago.
        """
        if self.clock.monotonic() < self._silent_until:
            raise TimeoutError
        try:
            async with asyncio.timeout(SILENT):
                return await ask()
        except TimeoutError:
            self._silent_until = self.clock.monotonic() + 2 * SILENT
            raise

    @property
    def opened(self) -> Store | None:
        """The store as long as it is open here; may be read from any thread."""
        return self._store

    async def store(self) -> Store:
        """The store, open. Raises DriverError: the broker is unavailable."""
        if self._store is not None:
            return self._store
        if self._changing is None:
            self._changing = asyncio.Lock()
        async with self._changing:
            if self._store is None:
                store = self.driver.store(self.name)
                if self.reads_only:
                    store = MadeByWriting(store, self.clock)
                await store.open()
                self._store = store
        return self._store

    @property
    def is_following(self) -> bool:
        """Whether the controls follow the store now."""
        is_current = self._is_current is not None and self._is_current.done()
        return is_current and self._following is not None and not self._following.done()

    async def follow(self) -> Controls:
        """The controls, which are current when this returns and follow the store from now on.

        Raises:
            DriverError: the store cannot be opened, or was closed meanwhile.
        """
        if self._following is None or self._following.done():
            store = await self.store()
            if self._following is None or self._following.done():
                self._is_current = asyncio.get_running_loop().create_future()
                self._following = asyncio.create_task(self._follow(store), name=f"watch {self.driver.name}")
        is_current, following = self._is_current, self._following
        assert is_current is not None
        await asyncio.wait([is_current, following], return_when=asyncio.FIRST_COMPLETED)
        if not is_current.done():
            problem = (
                f"the state of driver {self.driver.name!r} was closed before it could be read; open the driver again"
            )
            raise BrokerUnavailableError(problem, driver=self.driver.name)
        return self.controls

    async def _follow(self, store: Store) -> None:
        is_current, known = self._is_current, self.controls
        while True:
            found: set[str] | None = set()
            try:
                async for change in store.watch(CONTROL):
                    if change is not CURRENT:
                        if change.key == MADE and change.value is None:
                            self._report_loss()
                        known.apply(change)
                        if found is not None:
                            found.add(change.key)
                        continue
                    known.forget_others(found or ())
                    found = None
                    if is_current is not None and not is_current.done():
                        is_current.set_result(None)
                return  # the store is closed
            except DriverError as error:
                _log.warning("cannot watch the state of driver %s, trying again: %s", self.driver.name, error)
            except Exception:  # a defect of one who listens must not leave all others without news
                _log.exception("cannot follow the state of driver %s, trying again", self.driver.name)
            await asyncio.sleep(_PAUSE)

    def _report_loss(self) -> None:
        """The mark of the store went, which no process removes: the store has lost its entries, and the orders too."""
        lost = ", ".join(key for key, _ in self.controls.under("") if CONTROL + key != MADE)
        _log.warning(
            "the state of driver %s came back without its entries: these orders are lost with it, and do not hold any "
            "more: %s; pause and scale again as needed",
            self.driver.name,
            lost or "none",
        )

    async def close(self, driver: Driver) -> None:
        """End the watch and close the store, if it is of this driver; the next use opens it again."""
        if driver is not self.driver:
            return
        following, store, self._following, self._store = self._following, self._store, None, None
        self._ahead = None
        self._changing = None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        if store is not None:
            with suppress(DriverError):
                await store.close()


class MadeByWriting(Store):
    """A store that is empty until the broker has it, and is made by the first verb that puts something into it."""

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner.name, inner.driver)
        self._inner = inner
        self._clock = clock
        self._is_open = False

    @property
    def facts(self) -> StoreFacts:
        """The store's."""
        return self._inner.facts

    async def exists(self) -> bool:
        """Whether the broker has it; then it is open from now on."""
        if not self._is_open and await self._inner.exists():
            await self._made()
        return self._is_open

    async def open(self) -> None:
        """Open the store if it is there."""
        await self.exists()

    async def _made(self) -> Store:
        if not self._is_open:
            await self._inner.open()
            self._is_open = True
        return self._inner

    async def close(self) -> None:
        """See Store."""
        if self._is_open:
            await self._inner.close()

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        return await self._inner.get(key) if await self.exists() else None

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store."""
        return await self._inner.list(prefix, after=after, limit=limit) if await self.exists() else Page([], "")

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """See Store."""
        if not await self.exists():
            yield CURRENT
            while not await self.exists():  # noqa: ASYNC110 - brokers do not tell that a store is made
                await asyncio.sleep(_PAUSE)
        async for change in self._inner.watch(prefix):
            yield change

    async def time(self) -> float:
        """The store's time; of one that is not there the process's."""
        return await self._inner.time() if await self.exists() else self._clock.time()

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store."""
        return await (await self._made()).put(key, value, ttl=ttl, version=version)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """See Store."""
        await (await self._made()).put_all(entries, ttl=ttl)

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store."""
        if version is None and not await self.exists():
            return False
        return await (await self._made()).delete(key, version=version)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store."""
        return await (await self._made()).take(key, tokens, rate=rate, burst=burst)

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """See Store."""
        if await self.exists():
            await self._inner.give(key, tokens, rate=rate, burst=burst)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""
        return await (await self._made()).hold(key, holder, places=places, lease=lease)

    async def release(self, key: str, holder: str) -> None:
        """See Store."""
        if await self.exists():
            await self._inner.release(key, holder)


class States:
    """The shared states of a process: each driver object has its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reads_only = False
        self._states: dict[tuple[Driver, str], SharedState] = {}

    def of(self, driver: Driver, name: str = STATE) -> SharedState:
        """The state in this store of the driver."""
        state = self._states.get((driver, name))
        if state is None:
            state = self._states[driver, name] = SharedState(driver, name, self._clock)
            state.reads_only = self._reads_only
        return state

    def only_read(self, reads_only: bool) -> None:
        """Make no store by reading; see SharedState."""
        self._reads_only = reads_only
        for state in self._states.values():
            state.reads_only = reads_only

    async def close(self, driver: Driver) -> None:
        """Close the states on a driver, which is about to close."""
        for state in list(self._states.values()):
            await state.close(driver)
