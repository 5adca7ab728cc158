"""Upkeep of the stores that a session has open: polls for their watches, and sweeps of what has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from tasuki.contracts.state.store import Change, Entry
from tasuki.drivers.toolkit.stores import KeyRange, Watcher, key_range
from tasuki.errors import DriverError

POLL = 0.4
"""Seconds between two polls of a store that has watches, where the server cannot notify this process of changes."""
FOLLOWED = 300.0
"""The same where it can: in case a notification was lost."""
FRESH = 5.0
"""Seconds in which a new watch is polled as often as if it could not: a change under way may not have seen it."""
HURRY = 0.05
"""The same at least, after changes of this process."""
SWEEP = 300.0
"""Seconds between two sweeps; of several processes one sweeps."""
SWEPT = 1000
"""Most rows of a table that one transaction removes."""
NO_END = "\U0010ffff" * 129
"""Comes after every key: it is longer than the longest one."""

WATCH = "SELECT head, is_all, key, value, version, expires FROM {}.store_watch($1, $2, $3, $4)"
FOLLOW = "SELECT head, is_all, key, value, version, expires FROM {}.store_follow($1, $2, $3, $4, $5, $6)"
SWEEP_ROWS = "SELECT {}.store_sweep($1)"

Fetch = Callable[..., Awaitable[list[Any]]]


class StoreUpkeep:
    """For one session, on its loop. The first open store starts it.

    ``fetch`` gives the rows of a statement to arguments of a queue's name, the SQL, and its own arguments. ``hears``:
    whether the server can notify this process, which it knows as ``holder``.
    """

    def __init__(self, fetch: Fetch, holder: int, hears: Callable[[], bool]) -> None:
        self._fetch = fetch
        self._holder = holder
        self._hears = hears
        self._stores: dict[str, StorePoll] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to sweep, and to poll for watches. Idempotent."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(self._poll(), name="poll stores"),
                loop.create_task(self._sweep(), name="sweep stores"),
            ]

    async def close(self) -> None:
        """End the watches and the tasks. Idempotent."""
        for poll in self._stores.values():
            poll.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def watch(self, store: str, watcher: Watcher) -> None:
        """Tell a watcher all entries of its prefix, and from then on what changes. Raises DriverError."""
        if store not in self._stores:
            self._stores[store] = StorePoll(store, self._fetch, self._holder, self._hears)
        poll = self._stores[store]
        await poll.add(watcher)
        self._wake.set()

    def forget(self, store: str, watcher: Watcher) -> None:
        """Tell it no more."""
        if store in self._stores:
            self._stores[store].remove(watcher)

    def notify(self, store: str) -> None:
        """The server says that something has changed: poll soon."""
        poll = self._stores.get(store)
        if poll is not None and poll.watchers:
            poll.is_due = True
            self._wake.set()

    def changed(self, store: str, keys: Sequence[str]) -> None:
        """This process has changed these keys: poll soon, if it watches one of them."""
        poll = self._stores.get(store)
        if poll is not None and any(key.startswith(each.prefix) for each in poll.watchers for key in keys):
            self.notify(store)

    def refresh(self) -> None:
        """How the server reaches this process has changed: its notes may be lost."""
        for poll in self._stores.values():
            poll.freshen()
        self._wake.set()

    async def _poll(self) -> None:
        while True:
            self._wake.clear()
            for poll in [poll for poll in self._stores.values() if poll.watchers and poll.wait() <= 0]:
                with suppress(DriverError):  # then the next poll tells it
                    await poll.run()
            await asyncio.sleep(HURRY)
            waits = [poll.wait() for poll in self._stores.values() if poll.watchers]
            with suppress(TimeoutError):
                async with asyncio.timeout(max(min(waits), 0.0) if waits else None):
                    await self._wake.wait()

    async def _sweep(self) -> None:
        while True:
            with suppress(DriverError):
                while (await self._fetch("", SWEEP_ROWS, SWEPT))[0][0]:
                    pass
            await asyncio.sleep(SWEEP)


class StorePoll:
    """The watches of one store: one statement asks for all of them."""

    def __init__(self, store: str, fetch: Fetch, holder: int, hears: Callable[[], bool]) -> None:
        self._store = store
        self._fetch = fetch
        self._holder = holder
        self._hears = hears
        self._loop = asyncio.get_running_loop()
        self._ends: dict[str, float] = {}
        """When watched entries end by themselves, by the server's clock."""
        self._next_at = self._fresh_until = 0.0
        self.is_due = True
        """Whether something has changed since the last poll."""
        self._lock = asyncio.Lock()
        self._since: str | None = None
        """Up to where all watchers know the changes, in the server's own words."""
        self.watchers: list[Watcher] = []

    def freshen(self) -> None:
        """The server notes these watches only now: a change under way may not see them."""
        self._fresh_until, self.is_due = self._loop.time() + FRESH, True

    def wait(self) -> float:
        """Seconds until the next poll; not above 0: now."""
        return 0.0 if self.is_due else self._next_at - self._loop.time()

    def _plan(self, head: str) -> None:
        """Poll again in case a notification is lost, or when the next entry ends."""
        now = self._loop.time()
        is_followed = self._hears() and now > self._fresh_until
        wait = FOLLOWED * (0.75 + self._holder % 256 / 1024) if is_followed else POLL  # processes take turns
        if self._ends:
            wait = min(wait, max(min(self._ends.values()) - float(head.partition(" ")[0]), POLL))
        self._next_at = now + wait

    def end(self) -> None:
        """End the watches."""
        for watcher in list(self.watchers):
            watcher.end()

    def remove(self, watcher: Watcher) -> None:
        """Tell it no more; from any loop."""
        with suppress(ValueError):
            self.watchers.remove(watcher)

    async def add(self, watcher: Watcher) -> None:
        """Tell a new watcher all entries; it may get the changes of the next poll twice, and passes over them."""
        async with self._lock:  # a poll under way would not ask for its prefix, and know later changes
            keys = key_range(watcher.prefix)
            rows = [] if keys is None else await self._ask([keys], None)
            if not self.watchers and rows:
                self._since = rows[0]["head"]
            watcher.tell_all(Entry(row["key"], row["value"], row["version"]) for row in rows[1:])
            self._note_ends(rows[1:])
            if keys is not None:
                self.watchers.append(watcher)
                self.freshen()

    def _note_ends(self, rows: Sequence[Any]) -> None:
        for row in rows:
            self._ends.pop(row["key"], None)
            if row["expires"] is not None:
                self._ends[row["key"]] = row["expires"]

    async def run(self) -> None:
        """Ask once. Raises DriverError."""
        async with self._lock:
            watchers = list(self.watchers)
            ranges = [keys for prefix in outermost(each.prefix for each in watchers) if (keys := key_range(prefix))]
            if not ranges:
                return
            self.is_due = False
            try:
                head, *rows = await self._ask(ranges, self._since)
            except BaseException:
                self._next_at = self._loop.time() + POLL
                raise
            if head["is_all"]:
                self._ends.clear()
                entries = [Entry(row["key"], row["value"], row["version"]) for row in rows]
                for watcher in watchers:
                    watcher.tell_all(entry for entry in entries if entry.key.startswith(watcher.prefix))
            else:
                for row in rows:
                    change = Change(row["key"], row["value"], row["version"])
                    for watcher in watchers:
                        watcher.tell(change)
            self._since = head["head"]
            self._note_ends(rows)
            self._plan(head["head"])

    async def _ask(self, ranges: list[KeyRange], since: str | None) -> list[Any]:
        """The rows, with the head in front."""
        low, high = [keys.low for keys in ranges], [keys.high or NO_END for keys in ranges]
        if self._hears():
            rows = await self._fetch("", FOLLOW, self._store, low, high, since, self._holder, 2 * FOLLOWED)
        else:
            rows = await self._fetch("", WATCH, self._store, low, high, since)
        return sorted(rows, key=lambda row: row["head"] is None)


def outermost(prefixes: Iterable[str]) -> list[str]:
    """The prefixes without those that begin with another of them."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found
