"""MemoryStore: state in this process; the rules of the store contract in their plainest form."""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from math import inf
from typing import Any, Literal, NamedTuple

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.state.store import (
    MAX_PAGE,
    MAX_VALUE_BYTES,
    Change,
    Current,
    Entry,
    Grant,
    Page,
    Store,
    StoreFacts,
)
from tasuki.drivers.toolkit import limits
from tasuki.drivers.toolkit.guard import Guard
from tasuki.drivers.toolkit.limits import Bucket
from tasuki.drivers.toolkit.stores import Watcher
from tasuki.errors import BrokerUnavailableError, ConflictError, StoreFullError

MAX_ENTRIES = 1_000_000
MAX_BYTES = 256 * 2**20
_CHECK_EVERY = 0.5
"""Seconds between two checks of a watch for expired keys."""
_STALE = 64
"""Deadlines of other versions that may be left, beside one for each key."""
_IDLE = 1024
"""Full buckets and places without holders that may be left, before they are looked for."""


class _Item(NamedTuple):
    value: bytes
    version: int
    expires: float


class Shelf:
    """What the stores of one name in one process share; it outlives their closing."""

    def __init__(
        self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES, max_value_bytes: int = MAX_VALUE_BYTES
    ) -> None:
        self.max_entries, self.max_bytes, self.max_value_bytes = max_entries, max_bytes, max_value_bytes
        self.lock = threading.RLock()
        self.items: dict[str, _Item] = {}
        self.bytes = 0
        self.version = 0
        self.order: list[str] | None = None
        """The keys in their order; None: to be sorted again."""
        self.deadlines: list[tuple[float, str]] = []
        self.buckets: dict[str, Bucket] = {}
        self.places: dict[str, dict[str, float]] = {}
        self.watchers: list[Watcher] = []
        self._tidy_at = _IDLE

    def tidy(self, now: float) -> None:
        """Forget full buckets and empty places, once they may be half of all."""
        if len(self.buckets) + len(self.places) < self._tidy_at:
            return
        self.buckets = {key: bucket for key, bucket in self.buckets.items() if bucket.full_at > now}
        self.places = {key: held for key, held in self.places.items() if any(end > now for end in held.values())}
        self._tidy_at = max(2 * (len(self.buckets) + len(self.places)), _IDLE)

    def find(self, key: str) -> _Item | None:
        """The item of a key; ``expire`` has run before."""
        return self.items.get(key)

    def check_version(self, key: str, expected: int | None, store: MemoryStore) -> None:
        """Raises ConflictError."""
        if expected is None:
            return
        found = self.items.get(key)
        if (found.version if found else 0) != expected:
            raise ConflictError(
                f"store {store.name!r} of driver {store.driver!r}: key {key[:40]!r} has version "
                f"{found.version if found else 0}, not {expected}",
                driver=store.driver,
            )

    def write(self, key: str, value: bytes, expires: float) -> int:
        """Put a value under a key, under a new version."""
        old = self.items.get(key)
        if old is None:
            self.order = None
        self.bytes += len(value) - (len(old.value) if old else -len(key))
        self.version += 1
        self.items[key] = _Item(value, self.version, expires)
        if expires < inf:
            heapq.heappush(self.deadlines, (expires, key))
            if len(self.deadlines) > 2 * len(self.items) + _STALE:
                self.deadlines = [(item.expires, key) for key, item in self.items.items() if item.expires < inf]
                heapq.heapify(self.deadlines)
        self.tell(Change(key, value, self.version))
        return self.version

    def remove(self, key: str) -> None:
        """Forget a key that is there."""
        old = self.items.pop(key)
        self.bytes -= len(old.value) + len(key)
        self.order = None
        self.tell(Change(key, None, old.version))

    def expire(self, now: float) -> None:
        """Forget expired keys."""
        deadlines = self.deadlines
        while deadlines and deadlines[0][0] <= now:
            _, key = heapq.heappop(deadlines)
            item = self.items.get(key)
            if item is not None and item.expires <= now:
                self.remove(key)

    def has_room(self, key: str, value: bytes) -> bool:
        """Whether the value fits, in place of the old one."""
        old = self.items.get(key)
        if old is None and len(self.items) >= self.max_entries:
            return False
        return self.bytes + len(value) - (len(old.value) if old else -len(key)) <= self.max_bytes

    def tell(self, change: Change) -> None:
        """Let all watches know."""
        for watcher in self.watchers:
            watcher.tell(change)

    def page(self, prefix: str, after: str, limit: int) -> Page:
        """A part of the entries, in order."""
        if self.order is None:
            self.order = sorted(self.items)
        start = bisect_left(self.order, max(prefix, after + "\0" if after else prefix))
        found: list[Entry] = []
        for key in islice(self.order, start, None):
            if not key.startswith(prefix):
                break
            if len(found) == limit:
                return Page(found, found[-1].key)
            item = self.items[key]
            found.append(Entry(key, item.value, item.version))
        return Page(found, "")


class MemoryStore(Store):
    """A store of one process; its clock is the Unix time of the clock that it is given."""

    def __init__(self, name: str, guard: Guard[Any], shelf: Shelf, clock: Clock | None = None) -> None:
        super().__init__(name, guard.driver)
        self._guard = guard
        self._shelf = shelf
        self._clock = clock or SystemClock()
        self._watchers: list[Watcher] = []
        self._is_open = False

    @property
    def facts(self) -> StoreFacts:
        """Everything at once, and nothing for long."""
        return StoreFacts(durability="memory", push=True, max_value_bytes=self._shelf.max_value_bytes)

    async def open(self) -> None:
        """Serve, with the entries of before."""
        self._guard.get()
        self._is_open = True

    async def close(self) -> None:
        """End the watches of this object."""
        self._is_open = False
        with self._shelf.lock:
            for watcher in self._watchers:
                watcher.end()
                self._shelf.watchers.remove(watcher)
            self._watchers.clear()

    def _current(self) -> Shelf:
        """The shelf without expired keys; callers hold its lock."""
        self._guard.get()
        if not self._is_open:
            raise BrokerUnavailableError(
                f"store {self.name!r} of driver {self.driver!r} is not open; open it first", driver=self.driver
            )
        self._shelf.expire(self._clock.time())
        return self._shelf

    def _ready(self, key: str = "x", value: bytes = b"") -> Shelf:
        """The same for a verb, whose key and value are checked."""
        shelf = self._current()
        self.check(key, value)
        return shelf

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        with self._shelf.lock:
            item = self._ready(key).find(key)
        return None if item is None else Entry(key, item.value, item.version)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store."""
        with self._shelf.lock:
            shelf = self._ready(key, value)
            shelf.check_version(key, version, self)
            return self._write(shelf, key, value, inf if ttl is None else self._clock.time() + ttl)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """See Store."""
        with self._shelf.lock:
            shelf = self._current()
            for key, value in entries:
                self.check(key, value)
            until = inf if ttl is None else self._clock.time() + ttl
            for key, value in entries:
                self._write(shelf, key, value, until)

    def _write(self, shelf: Shelf, key: str, value: bytes, until: float) -> int:
        if not shelf.has_room(key, value):
            raise StoreFullError(f"store {self.name!r} of driver {self.driver!r} is full", driver=self.driver)
        return shelf.write(key, bytes(value), until)

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store."""
        with self._shelf.lock:
            shelf = self._ready(key)
            shelf.check_version(key, version, self)
            if shelf.find(key) is None:
                return False
            shelf.remove(key)
            return True

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store."""
        with self._shelf.lock:
            return self._ready().page(prefix, after, min(max(limit, 1), MAX_PAGE))

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """See Store."""
        watcher = Watcher(prefix)
        with self._shelf.lock:
            entries = self._current().items.items()
            watcher.tell_all(Entry(key, item.value, item.version) for key, item in entries if key.startswith(prefix))
            self._shelf.watchers.append(watcher)
            self._watchers.append(watcher)
        try:
            async for change in watcher.read(self._look, _CHECK_EVERY):
                yield change
        finally:
            with self._shelf.lock:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)
                    self._shelf.watchers.remove(watcher)

    async def _look(self) -> None:
        with self._shelf.lock:
            self._current()

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store."""
        with self._shelf.lock:
            shelf = self._ready(key)
            shelf.tidy(self._clock.time())
            found = limits.at(shelf.buckets.get(key), self._clock.time(), rate, burst)
            grant, shelf.buckets[key] = limits.take(found, tokens)
            return grant

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """See Store."""
        with self._shelf.lock:
            shelf = self._ready(key)
            found = limits.at(shelf.buckets.get(key), self._clock.time(), rate, burst)
            shelf.buckets[key] = limits.give(found, tokens)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""
        with self._shelf.lock:
            now = self._clock.time()
            self._ready(key).tidy(now)
            held = self._shelf.places.get(key, {})
            held = {name: until for name, until in held.items() if until > now}
            self._shelf.places[key] = held
            if holder not in held and len(held) >= places:
                return None
            held[holder] = now + lease
            return held[holder]

    async def release(self, key: str, holder: str) -> None:
        """See Store."""
        with self._shelf.lock:
            held = self._ready(key).places.get(key, {})
            held.pop(holder, None)
            if not held:
                self._shelf.places.pop(key, None)

    async def time(self) -> float:
        """See Store."""
        with self._shelf.lock:
            self._current()
        return self._clock.time()
