"""Upkeep of the stores that a session has open: polls for their watches, and sweeps of what has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from tasuki.contracts.state.store import Change, Entry
from tasuki.drivers.toolkit.state.key_range import KeyRange, key_range
from tasuki.drivers.toolkit.state.watching import Watcher
from tasuki.errors import DriverError

POLL = 0.4
"""Seconds between two polls of a store that has watches; other processes see a change within this and a round trip."""
HURRY = 0.05
"""The same at least, after changes of this process."""
SWEEP = 10.0
"""Seconds between two sweeps; of several processes one sweeps."""
SWEPT = 1000
"""Most rows of a table that one transaction removes."""
NO_END = "\U0010ffff" * 129
"""Comes after every key: it is longer than the longest one."""

WATCH = "SELECT head, is_all, key, value, version FROM {}.store_watch($1, $2, $3, $4)"
SWEEP_ROWS = "SELECT {}.store_sweep($1)"

Fetch = Callable[..., Awaitable[list[Any]]]


class StoreUpkeep:
    """For one session, on its loop. The first open store starts it.

    ``fetch`` gives the rows of a statement to arguments of a queue's name, the SQL, and its own arguments.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
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
        poll = self._stores.setdefault(store, StorePoll(store, self._fetch))
        await poll.add(watcher)
        self._wake.set()

    def forget(self, store: str, watcher: Watcher) -> None:
        """Tell it no more."""
        if store in self._stores:
            self._stores[store].remove(watcher)

    def notify(self, store: str) -> None:
        """This process has changed something: poll soon."""
        poll = self._stores.get(store)
        if poll is not None and poll.watchers:
            self._wake.set()

    async def _poll(self) -> None:
        while True:
            self._wake.clear()
            watched = [poll for poll in self._stores.values() if poll.watchers]
            for poll in watched:
                with suppress(DriverError):  # then the next poll tells it
                    await poll.run()
            await asyncio.sleep(HURRY)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL - HURRY if watched else None):
                    await self._wake.wait()

    async def _sweep(self) -> None:
        while True:
            with suppress(DriverError):
                while (await self._fetch("", SWEEP_ROWS, SWEPT))[0][0]:
                    pass
            await asyncio.sleep(SWEEP)


class StorePoll:
    """The watches of one store: one statement asks for all of them."""

    def __init__(self, store: str, fetch: Fetch) -> None:
        self._store = store
        self._fetch = fetch
        self._lock = asyncio.Lock()
        self._since: str | None = None
        """Up to where all watchers know the changes, in the server's own words."""
        self.watchers: list[Watcher] = []

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
            if keys is not None:
                self.watchers.append(watcher)

    async def run(self) -> None:
        """Ask once. Raises DriverError."""
        async with self._lock:
            watchers = list(self.watchers)
            ranges = [keys for prefix in outermost(each.prefix for each in watchers) if (keys := key_range(prefix))]
            if not ranges:
                return
            head, *rows = await self._ask(ranges, self._since)
            if head["is_all"]:
                entries = [Entry(row["key"], row["value"], row["version"]) for row in rows]
                for watcher in watchers:
                    watcher.tell_all(entry for entry in entries if entry.key.startswith(watcher.prefix))
            else:
                for row in rows:
                    change = Change(row["key"], row["value"], row["version"])
                    for watcher in watchers:
                        watcher.tell(change)
            self._since = head["head"]

    async def _ask(self, ranges: list[KeyRange], since: str | None) -> list[Any]:
        """The rows, with the head in front."""
        low, high = [keys.low for keys in ranges], [keys.high or NO_END for keys in ranges]
        rows = await self._fetch("", WATCH, self._store, low, high, since)
        return sorted(rows, key=lambda row: row["head"] is None)


def outermost(prefixes: Iterable[str]) -> list[str]:
    """The prefixes without those that begin with another of them."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found
